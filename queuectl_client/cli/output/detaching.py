"""Tell how to follow a job again when its client stops before the job has ended."""

from collections.abc import Iterator
from contextlib import contextmanager

from queuectl_client.cli.invocation import Invocation
from queuectl_client.cli.output.outcome import has_ended
from queuectl_client.errors import DaemonUnreachable, QueuectlError


@contextmanager
def detaching(invocation: Invocation, job: str, back: str = "follow") -> Iterator[None]:
    """Return a context manager that tells the job's state, and how to follow it again with the verb `back`, on Ctrl-C.

    The error for a daemon that cannot be reached gets the same words.
    """
    try:
        yield
    except KeyboardInterrupt:
        if not invocation.quiet:
            invocation.say(f"\nDetached: {job} {_goes_on(invocation, job)}. Reattach with: queuectl {back} {job}")
        raise
    except DaemonUnreachable as error:
        words = f"{error.message}; the job is kept, reattach with: queuectl {back} {job}"
        raise type(error)(words, error.data) from None


def _goes_on(invocation: Invocation, job: str) -> str:
    """Return what the job does now. Asks over another connection, as the first one is in a call."""
    other = invocation.another()
    other.autostart = False
    try:
        now = other.call("job.get", id=job)
    except (QueuectlError, OSError):
        return "is kept"
    finally:
        other.close()
    if now["state"] == "held":
        return f"is held; release it with: queuectl release {job}"
    if has_ended(now):
        return f"is {now['state']}"
    if now.get("paused"):
        return f"is paused; resume it with: queuectl resume {job}"
    return "keeps running" if now["state"] == "processing" else "waits"
