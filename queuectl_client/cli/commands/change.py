"""The verbs that change jobs: each names jobs by id or selector; the daemon decides to which of them it applies."""

from typing import Any

import click

from queuectl_client.cli.commands.job_actions import (
    SELECTORS,
    JobAction,
    change,
    dry_run_option,
    ids_and_changes,
    yes_option,
)
from queuectl_client.cli.framework import VerbCommand, pass_invocation, verb
from queuectl_client.cli.invocation import Invocation


def _verb_on_jobs(name: str, action: JobAction, text: str, example: str, *, destroys: bool = False) -> VerbCommand:
    """A verb that only takes job IDs. `destroys`: ask for confirmation when it applies to several jobs."""

    def callback(invocation: Invocation, jobs: tuple[str, ...], dry_run: bool, yes: bool = True) -> int:
        return change(invocation, action, {"ids": list(jobs)}, dry_run=dry_run, confirm=not yes)

    made: Any = pass_invocation(callback)
    made = yes_option(made) if destroys else made
    made = click.argument("jobs", nargs=-1, required=True, metavar="ID...")(dry_run_option(made))
    declared: VerbCommand = verb(name, example=example, help=text + SELECTORS)(made)
    return declared


cancel = _verb_on_jobs(
    "cancel",
    JobAction("job.cancel", "cancel", "cancelled"),
    """End jobs for good, waiting or running.

    A running one gets TERM and, after its grace, KILL, with all its processes. It is cancelled before the first signal.
    """,
    "queuectl cancel job_7\nqueuectl cancel label:user=ada @failed\nqueuectl cancel all --dry-run",
    destroys=True,
)
pause = _verb_on_jobs(
    "pause",
    JobAction("job.pause", "pause", "paused"),
    """Stop running jobs (SIGSTOP to all of their processes) until they are resumed.

    A paused job stays processing, its worker stays busy, its timeout stands still.
    """,
    "queuectl pause job_7",
)
resume = _verb_on_jobs(
    "resume",
    JobAction("job.resume", "resume", "resumed"),
    "Let paused jobs go on (SIGCONT).\n",
    "queuectl resume job_7\nqueuectl resume all",
)
hold = _verb_on_jobs(
    "hold",
    JobAction("job.hold", "hold", "held"),
    "Keep waiting jobs back until they are released.\n",
    "queuectl hold 3-9\nqueuectl hold name:nightly* --dry-run",
)
release = _verb_on_jobs(
    "release",
    JobAction("job.release", "release", "released"),
    "Let held jobs run.\n",
    "queuectl release job_7\nqueuectl release all",
)
remove = _verb_on_jobs(
    "rm",
    JobAction("job.remove", "remove", "removed"),
    "Remove jobs that do not run, with their attempts and their output.\n",
    "queuectl rm job_7\nqueuectl rm @completed @cancelled -y",
    destroys=True,
)


@verb(
    "kill",
    example="queuectl kill job_7\nqueuectl kill -s HUP name:server*",
    help=f"""
    Send a signal to every process of running jobs. What comes of it is an ordinary end: retries apply.
    {SELECTORS}""",
)
@click.argument("jobs", nargs=-1, required=True, metavar="ID...")
@click.option("-s", "--signal", metavar="SIG", default="TERM", show_default=True, help="Signal name or number.")
@dry_run_option
@yes_option
@pass_invocation
def kill(invocation: Invocation, jobs: tuple[str, ...], signal: str, dry_run: bool, yes: bool) -> int:
    number: int | str = int(signal) if signal.isdecimal() else signal
    params = {"ids": list(jobs), "signal": number}
    action = JobAction("job.kill", f"send {signal.upper()} to", f"sent {signal.upper()}", f"was sent {signal.upper()}")
    return change(invocation, action, params, dry_run=dry_run, confirm=not yes)


@verb(
    "retry",
    example="""
        queuectl retry job_7
        queuectl retry job_7 timeout=10m 'command=make -k'
        queuectl retry @failed @dead --dry-run
    """,
    help=f"""
    Run ended jobs again, with no failures counted and their history and output kept.

    A failed one that waits for its backoff runs now. KEY=VALUE changes each of the jobs first, as queuectl edit does.
    {SELECTORS}""",
)
@click.argument("words", nargs=-1, required=True, metavar="ID... [KEY=VALUE]...")
@dry_run_option
@pass_invocation
def retry(invocation: Invocation, words: tuple[str, ...], dry_run: bool) -> int:
    jobs, changes = ids_and_changes(words)
    if not jobs:
        raise click.UsageError("give the ID of a job; KEY=VALUE alone says what to change of it")
    params = {"ids": jobs, **({"changes": changes} if changes else {})}
    return change(invocation, JobAction("job.retry", "retry", "retried", "will run again"), params, dry_run=dry_run)
