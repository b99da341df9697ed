"""`queuectl wait`: until jobs have ended, or nothing is left to do."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import click

from queuectl_client.cli.framework import pass_invocation, verb
from queuectl_client.cli.invocation import Invocation
from queuectl_client.cli.jobinput.values import DURATION
from queuectl_client.cli.output.outcome import TIMED_OUT, exit_code, has_ended
from queuectl_client.cli.output.render import result_text
from queuectl_client.waiting import Wait

Job = Mapping[str, Any]

A_PAGE: Final = 250
"""Jobs of one answer in which each is told whole."""
TOLD: Final = ("id", "state", "exit_code", "signal", "reason", "reason_code")
"""Keys of which the line about an ended job is made."""


@verb(
    "wait",
    example="""
        queuectl wait
        queuectl wait job_7 job_8 --exit-status
        queuectl wait label:batch=42 --any --timeout 10m
    """,
)
@click.argument("jobs", nargs=-1, metavar="[ID]...")
@click.option("--any", "any_one", is_flag=True, help="Return when the first job has ended.")
@click.option("--timeout", type=DURATION, help="Give up after this long, with exit code 124.")
@click.option("--exit-status", is_flag=True, help="Exit with the exit code of the first job that failed.")
@pass_invocation
def wait(invocation: Invocation, jobs: tuple[str, ...], any_one: bool, timeout: float | None, exit_status: bool) -> int:
    """Wait until jobs have ended, or without an ID until there is nothing left to do.

    That is: nothing is ready, failed or processing. Jobs that are held, delayed, blocked or paused do not count.
    """
    if not jobs and (any_one or exit_status):
        raise click.UsageError("--any and --exit-status require a job ID")
    if timeout is not None and timeout < 0:
        raise click.UsageError(f"invalid --timeout: {timeout:g}; expected 0 or more")
    return wait_for(invocation, jobs, any_one=any_one, timeout=timeout, exit_status=exit_status)


def wait_for(
    invocation: Invocation,
    jobs: Sequence[str],
    *,
    any_one: bool = False,
    timeout: float | None = None,
    exit_status: bool = False,
    announced: bool = False,
) -> int:
    """Wait for the jobs (for a quiet queue without any), tell how each ended, and give the exit code for it.

    `announced`: see `waited_for`.
    """
    how: dict[str, Any] = {"limit": A_PAGE}
    if invocation.quiet and not invocation.json:
        how = {"limit": 0}
    elif not invocation.json:
        how = {"keys": TOLD}
    waited = waited_for(invocation, jobs, any_one=any_one, timeout=timeout, announced=announced, **how)
    if waited is None:
        invocation.say(f"Timed out after {timeout:g} s.")
        return TIMED_OUT
    if invocation.json:
        from queuectl_client.cli.output.jsonlines import write_array

        write_array(told(invocation, waited))
    elif not invocation.quiet:
        for job in filter(has_ended, told(invocation, waited)):
            invocation.data(ending(job))
    return status_of(waited) if exit_status else 0


def waited_for(
    invocation: Invocation,
    jobs: Sequence[str],
    *,
    any_one: bool = False,
    timeout: float | None = None,
    announced: bool = False,
    **how: Any,
) -> Wait | None:
    """The wait once each job has ended, or with `any_one` the first has; None when `timeout` seconds were over before.

    Says what it waits for when that takes longer than a second, and at once that no workers are there to run it,
    unless that was `announced` before.
    """
    wait = Wait(jobs, any=any_one, timeout=timeout, **how)
    if not announced and not invocation.quiet and not invocation.call("status")["workers"]:
        first: dict[str, Any] = {**(wait.params or {}), "timeout": 0, "limit": 0}
        if not invocation.call("job.wait", **first)["done"]:
            announced = True
            invocation.say("No workers are active. Start some with: queuectl worker start")
    if invocation.quiet or invocation.json or (timeout is not None and timeout <= 1):
        return wait if invocation.client().run(wait.until_ended()) else None
    from queuectl_client.cli.output.waitreport import WaitReport

    with WaitReport(invocation, jobs, announced=announced):
        return wait if invocation.client().run(wait.until_ended()) else None


def told(invocation: Invocation, wait: Wait) -> Iterator[Job]:
    """The jobs that were waited for, a page at a time."""
    return invocation.client().stream(wait.emit_pages())


def status_of(wait: Wait) -> int:
    """The exit code of the first of the jobs that has ended with one that is not 0."""
    return 0 if wait.first_failure is None else exit_code(wait.first_failure)


def ending(job: Job) -> str:
    """How a job ended, in a line."""
    how = f" ({result_text(job)})" if job["state"] != "completed" else ""
    return f"{job['id']} {job['state']}{how}"
