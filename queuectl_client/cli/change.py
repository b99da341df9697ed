"""The verbs that change jobs: each names jobs by id or selector, and the daemon changes all of them or none."""

from collections.abc import Sequence
from typing import Any

import click

from queuectl_client.cli.invocation import Invocation
from queuectl_client.cli.verbs import Verb, pass_invocation, verb

SELECTORS = """
    An ID is an id (job_7), a number (7), last, a range (3-9), label:KEY=VALUE, name:GLOB, @STATE, or all.
"""


def tell_changed(invocation: Invocation, jobs: Sequence[dict[str, Any]], done: str) -> None:
    """Tell which jobs were changed: `Job job_7 cancelled`, a line each."""
    if invocation.json:
        from queuectl_client.cli.documents import write_array

        write_array(jobs)
        return
    for job in jobs:
        invocation.data(job["id"] if invocation.quiet else f"Job {job['id']} {done}")
    if not jobs:
        invocation.say("No job matches.")


def _verb_on_jobs(name: str, method: str, done: str, text: str, example: str) -> Verb:
    """A verb that takes ids and no more."""

    @verb(name, example=example, help=text + SELECTORS)
    @click.argument("jobs", nargs=-1, required=True, metavar="ID...")
    @pass_invocation
    def change(invocation: Invocation, jobs: tuple[str, ...]) -> None:
        tell_changed(invocation, invocation.call(method, ids=list(jobs))["jobs"], done)

    return change


cancel = _verb_on_jobs(
    "cancel",
    "job.cancel",
    "cancelled",
    """End jobs for good, waiting or running.

    A running one gets TERM and, after its grace, KILL, with all its processes. It is cancelled before the first signal.
    """,
    "queuectl cancel job_7\nqueuectl cancel label:user=ada @failed",
)
pause = _verb_on_jobs(
    "pause",
    "job.pause",
    "paused",
    """Stop running jobs (SIGSTOP to all of their processes) until they are resumed.

    A paused job stays processing, its worker stays busy, its timeout stands still.
    """,
    "queuectl pause job_7",
)
resume = _verb_on_jobs(
    "resume",
    "job.resume",
    "resumed",
    "Let paused jobs go on (SIGCONT).\n",
    "queuectl resume job_7\nqueuectl resume all",
)
hold = _verb_on_jobs(
    "hold", "job.hold", "held", "Keep waiting jobs back until they are released.\n", "queuectl hold 3-9"
)
release = _verb_on_jobs(
    "release", "job.release", "released", "Let held jobs run.\n", "queuectl release job_7\nqueuectl release @held"
)
retry = _verb_on_jobs(
    "retry",
    "job.retry",
    "will run again",
    """Run ended jobs again, with no failures counted and their history kept.

    A failed one that waits for its backoff runs now.
    """,
    "queuectl retry job_7\nqueuectl retry @dead",
)
remove = _verb_on_jobs(
    "rm",
    "job.remove",
    "removed",
    "Remove jobs that do not run, with their attempts and their output.\n",
    "queuectl rm job_7\nqueuectl rm @completed @cancelled",
)


@verb(
    "kill",
    example="queuectl kill job_7\nqueuectl kill -s HUP name:server*",
    help=f"""
    Send a signal to every process of running jobs. What comes of it is an ordinary end: retries apply.
    {SELECTORS}""",
)
@click.argument("jobs", nargs=-1, required=True, metavar="ID...")
@click.option("-s", "--signal", metavar="SIG", default="TERM", show_default=True, help="Its name or number.")
@pass_invocation
def kill(invocation: Invocation, jobs: tuple[str, ...], signal: str) -> None:
    number: int | str = int(signal) if signal.isdecimal() else signal
    answer = invocation.call("job.kill", ids=list(jobs), signal=number)
    tell_changed(invocation, answer["jobs"], f"was sent {signal.upper()}")
