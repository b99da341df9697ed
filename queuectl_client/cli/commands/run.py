"""`queuectl run`: enqueue a command, show its output as it comes, and exit as it does."""

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any, Final

import click

from queuectl_client.cli.commands.enqueue import EnqueueVerb, build, store
from queuectl_client.cli.framework import pass_invocation
from queuectl_client.cli.invocation import Invocation
from queuectl_client.cli.jobinput.options import JobMap, described, job_options
from queuectl_client.cli.output.detaching import detaching
from queuectl_client.cli.output.follow import Job, follow_job
from queuectl_client.cli.output.hints import DRAINING, tell_slots
from queuectl_client.cli.output.outcome import exit_code, has_ended
from queuectl_client.cli.output.render import full_time, parse_time
from queuectl_client.errors import WrongState
from queuectl_client.protocol.spelling import snake_case
from queuectl_client.protocol.vocabulary import ReasonCode


@click.command(
    "run",
    cls=EnqueueVerb,
    example="""
        queuectl run 'make test'
        queuectl run --timeout 10m -- rsync -a src/ host:dst/
    """,
)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option("--shell", is_flag=True, help="Treat the command as a shell command even if it begins with {.")
@click.option("--lenient", is_flag=True, help="Warn about unknown JSON keys instead of rejecting them.")
@job_options
@pass_invocation
def run(invocation: Invocation, /, command: tuple[str, ...], shell: bool, lenient: bool, **options: Any) -> int:
    """Enqueue a command, show its output, and exit with its exit code.

    128+n for a signal, 124 for a timeout, 130 when cancelled. It runs once, unless --max-retries is given. Where no
    worker is active, one is started for this job alone, as soon as it may run. Ctrl-C detaches: the job goes on.
    """
    job = build(invocation, command, described(options), shell=shell, lenient=lenient)
    if "max_retries" not in map(snake_case, job):
        job["max_retries"] = 0
    stored, hint = store(invocation, job)
    if invocation.json:
        # Its output takes stdout; what it was enqueued as is told beside it.
        invocation.say(f"Job enqueued with ID: {stored['id']}")
    if stored.get("skipped"):
        invocation.say(f"Job {stored['id']} with unique key {stored['unique_key']!r} already exists; following it")
    with detaching(invocation, stored["id"]):
        _see_to_a_worker(invocation, stored, hint)
        ended = follow_job(invocation, stored["id"])
    if exit_code(ended) and ended.get("reason_code") not in (None, ReasonCode.EXIT):
        invocation.say(f"{ended['id']} {ended['state']}: {ended['reason']}")
    return exit_code(ended)


def _see_to_a_worker(invocation: Invocation, job: Job, hint: JobMap | None) -> None:
    """Have a worker started for the job, at once or when it may run, if there may be none; say what it waits for."""
    if has_ended(job):
        return
    why = _waits_for(job, hint["paused"] if hint is not None else ())
    started = 0
    if hint is None or not hint["workers"] or why or not job["ready"]:
        try:
            started = len(invocation.call("worker.start", job=job["id"])["workers"])
        except WrongState as error:
            invocation.say(error.message)  # the daemon stops
    if why:
        invocation.say(f"{job['id']} waits: {why}.")
        if hint is not None and not hint["workers"]:
            invocation.say(NO_WORKERS_YET + (NONE_FOR_OTHERS if _waits_for_jobs(job) else ""))
    if hint is not None:
        if hint["draining"]:
            invocation.say(DRAINING)
        tell_slots(invocation, job["slots"], max(hint["slots"] + started, 1))


NO_WORKERS_YET: Final = "No workers are active; one is started for this job when it may run."
NONE_FOR_OTHERS: Final = " For the jobs that it waits for, start some with: queuectl worker start"


def _waits_for(job: Job, paused: Collection[str]) -> str:
    """Why the job may not start now, in words; empty when it may."""
    if job["state"] == "held":
        return f"it is held; release it with: queuectl release {job['id']}"
    if job["state"] == "blocked":
        return "it runs after " + ", ".join(parent["id"] for parent in job["depends_on"])
    if job["queue"] in paused:
        return f"queue {job['queue']} is paused; resume it with: queuectl queue resume {job['queue']}"
    if job["ready"] or job["state"] != "pending":
        return ""
    if job.get("run_at") and parse_time(job["run_at"]) > datetime.now(UTC):
        return f"it runs no earlier than {full_time(job['run_at'])}"
    if job.get("key"):
        return f"it runs after other jobs of its key {job['key']!r}"
    return f"queuectl explain {job['id']} tells why"


def _waits_for_jobs(job: Job) -> bool:
    return job["state"] == "blocked" or bool(job.get("key"))
