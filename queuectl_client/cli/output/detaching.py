"""How to come back to a job: said when its client stops following it before it has ended."""

from collections.abc import Iterator
from contextlib import contextmanager

from queuectl_client.cli.invocation import Invocation
from queuectl_client.cli.output.outcome import has_ended
from queuectl_client.errors import DaemonUnreachable, QueuectlError


@contextmanager
def detaching(invocation: Invocation, job: str, back: str = "follow") -> Iterator[None]:
    """On Ctrl-C say what becomes of the job, and how to come back with the verb `back`; the exit code is 130.

    An error that the daemon does not answer gets the same words.
    """
    try:
        yield
    except KeyboardInterrupt:
        invocation.say(f"\nDetached: {job} {_goes_on(invocation, job)}. Reattach with: queuectl {back} {job}")
        raise
    except DaemonUnreachable as error:
        words = f"{error.message}; the job is kept, reattach with: queuectl {back} {job}"
        raise type(error)(words, error.data) from None


def _goes_on(invocation: Invocation, job: str) -> str:
    """Return what the job does now, in words. Asks over another connection: the first one is in a call."""
    if invocation.quiet:
        return ""
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
