"""`queuectl wait`: until jobs have ended, or nothing is left to do."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from queuectl_client.cli.invocation import Invocation
from queuectl_client.cli.outcome import TIMED_OUT, exit_code, has_ended
from queuectl_client.cli.render import result_text
from queuectl_client.cli.values import DURATION
from queuectl_client.cli.verbs import pass_invocation, verb

Job = Mapping[str, Any]

IDS_A_CALL: Final = 5000
"""Ids of one message, so that its answer, the jobs, stays small too."""


@verb(
    "wait",
    example="""
        queuectl wait
        queuectl wait job_7 job_8 --exit-status
        queuectl wait label:batch=42 --any --timeout 10m
    """,
)
@click.argument("jobs", nargs=-1, metavar="[ID]...")
@click.option("--any", "any_one", is_flag=True, help="Until the first of them has ended.")
@click.option("--timeout", type=DURATION, help="Give up after so long: exit 124.")
@click.option("--exit-status", is_flag=True, help="Exit as the job did; of several, as the first that failed.")
@pass_invocation
def wait(invocation: Invocation, jobs: tuple[str, ...], any_one: bool, timeout: float | None, exit_status: bool) -> int:
    """Wait until jobs have ended, or without an ID until there is nothing left to do.

    That is: nothing is ready, failed or processing. Jobs that are held, delayed, blocked or paused do not count.
    """
    if not jobs and (any_one or exit_status):
        raise click.UsageError("--any and --exit-status need the ID of a job")
    if timeout is not None and timeout < 0:
        raise click.UsageError(f"--timeout is {timeout:g}, but it must be 0 or more")
    return wait_for(invocation, jobs, any_one=any_one, timeout=timeout, exit_status=exit_status)


def wait_for(
    invocation: Invocation,
    jobs: Sequence[str],
    *,
    any_one: bool = False,
    timeout: float | None = None,
    exit_status: bool = False,
) -> int:
    """Wait for the jobs (for a quiet queue without any), tell how each ended, and give the exit code for it."""
    ended = ended_jobs(invocation, jobs, any_one=any_one, timeout=timeout)
    if ended is None:
        invocation.say(f"Time is up after {timeout:g} s.")
        return TIMED_OUT
    if invocation.json:
        from queuectl_client.cli.documents import write_array

        write_array(ended)
    elif not invocation.quiet:
        for job in filter(has_ended, ended):
            invocation.data(ending(job))
    return first_failure(ended) if exit_status else 0


def ended_jobs(
    invocation: Invocation, jobs: Sequence[str], *, any_one: bool = False, timeout: float | None = None
) -> list[Job] | None:
    """The jobs once each has ended, or with `any_one` the first has; None when `timeout` seconds were over before.

    Says so when no workers are there to run what is waited for.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    slices = [jobs] if any_one else [jobs[start : start + IDS_A_CALL] for start in range(0, len(jobs), IDS_A_CALL)]
    found: list[Job] = []
    hinted = False
    for some in slices or [()]:
        asked: dict[str, Any] = {"ids": list(some), "any": any_one} if some else {}
        answer = invocation.call("job.wait", **asked, timeout=0)
        if not answer["done"]:
            if not hinted and not invocation.call("status")["workers"]:
                invocation.say("No workers are active. Start some with: queuectl worker start")
            hinted = True
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            answer = invocation.call("job.wait", **asked, timeout=left)
        found += answer["jobs"]
        if not answer["done"]:
            return None
    return found


def first_failure(jobs: Sequence[Job]) -> int:
    """The exit code of the first of the jobs that has ended with one that is not 0."""
    return next((code for job in filter(has_ended, jobs) if (code := exit_code(job))), 0)


def ending(job: Job) -> str:
    """How a job ended, in a line."""
    how = f" ({result_text(job)})" if job["state"] != "completed" else ""
    return f"{job['id']} {job['state']}{how}"
