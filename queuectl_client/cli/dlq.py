"""`queuectl dlq`: the dead letter queue, where jobs are that gave up."""

from collections.abc import Iterator
from typing import Any, Final

import click

from queuectl_client.cli.change import tell_changed
from queuectl_client.cli.invocation import Invocation
from queuectl_client.cli.jobs import Job, show_job, show_jobs
from queuectl_client.cli.values import DURATION
from queuectl_client.cli.verbs import noun, pass_invocation
from queuectl_client.errors import WrongState

COLUMNS: Final = ("id", "attempts", "queue", "finished_at", "reason", "command")


@noun("dlq", example="queuectl dlq list\nqueuectl dlq retry job_7\nqueuectl dlq purge --all --older-than 7d")
def dlq() -> None:
    """Jobs that gave up: look at them, run them again, throw them away."""


@dlq.verb("list", example="queuectl dlq list\nqueuectl dlq list --json")
@pass_invocation
def list_dead(invocation: Invocation) -> None:
    """Show all dead jobs, the newest last."""
    show_jobs(invocation, _dead(invocation), COLUMNS)


def _dead(invocation: Invocation) -> Iterator[Job]:
    asked: dict[str, Any] = {}
    while True:
        page = invocation.call("dlq.list", **asked)
        yield from page["jobs"]
        if page["next"] is None:
            return
        asked = {"after": page["next"]}


@dlq.verb("show", example="queuectl dlq show job_7")
@click.argument("job", metavar="ID")
@pass_invocation
def show_dead(invocation: Invocation, job: str) -> None:
    """Show everything about a dead job, with every attempt to run it."""
    found = invocation.call("job.get", id=job)
    if found["state"] != "dead":
        raise WrongState(f"{found['id']} is not in the dead letter queue: it is {found['state']}")
    show_job(invocation, found)


@dlq.verb("retry", example="queuectl dlq retry job_7 job_8\nqueuectl dlq retry --all")
@click.argument("jobs", nargs=-1, metavar="[ID]...")
@click.option("--all", "every", is_flag=True, help="All dead jobs.")
@pass_invocation
def retry_dead(invocation: Invocation, jobs: tuple[str, ...], every: bool) -> None:
    """Run dead jobs again, with no failures counted and their history kept."""
    answer = invocation.call("dlq.retry", **_which(jobs, every))
    tell_changed(invocation, answer["jobs"], "will run again")


@dlq.verb("purge", example="queuectl dlq purge job_7\nqueuectl dlq purge --all --older-than 7d")
@click.argument("jobs", nargs=-1, metavar="[ID]...")
@click.option("--all", "every", is_flag=True, help="All dead jobs.")
@click.option("--older-than", type=DURATION, metavar="DURATION", help="Only those dead for so long (7d).")
@pass_invocation
def purge_dead(invocation: Invocation, jobs: tuple[str, ...], every: bool, older_than: float | None) -> None:
    """Remove dead jobs for good, with their attempts and their output."""
    asked = _which(jobs, every)
    if older_than is not None:
        asked["older_than"] = older_than
    tell_changed(invocation, invocation.call("dlq.purge", **asked)["jobs"], "removed")


def _which(jobs: tuple[str, ...], every: bool) -> dict[str, Any]:
    if bool(jobs) is every:
        raise click.UsageError("name jobs by their ID, or take --all")
    return {"all": True} if every else {"ids": list(jobs)}
