"""`queuectl dlq`: the dead letter queue, where jobs are that gave up."""

from collections.abc import Sequence
from typing import Any, Final

import click

from queuectl_client.cli.commands.job_actions import JobAction, change, dry_run_option, ids_and_changes, yes_option
from queuectl_client.cli.commands.jobs import show_job
from queuectl_client.cli.commands.listing import Listing, filter_options, listing_options, order_of, pointed, which
from queuectl_client.cli.framework import noun, pass_invocation
from queuectl_client.cli.invocation import Invocation
from queuectl_client.cli.jobinput.values import AGE
from queuectl_client.cli.output import columns
from queuectl_client.errors import InvalidParams, WrongState

COLUMNS: Final = ("id", "attempts", "queue", "finished_at", "reason", "command")


@noun(
    "dlq",
    example="queuectl dlq list --reason timeout\nqueuectl dlq retry job_7\nqueuectl dlq purge --all --older-than 7d",
)
def dlq() -> None:
    """Jobs that gave up: look at them, run them again, throw them away."""


@dlq.verb(
    "list",
    example="""
        queuectl dlq list
        queuectl dlq list --queue nightly --since 1d --reason 'exit 3'
        queuectl dlq list --sort -finished_at --limit 10 --columns id,reason
    """,
)
@filter_options("Dead")
@listing_options(COLUMNS)
@pass_invocation
def list_dead(
    invocation: Invocation,
    /,
    sort: str | None,
    reverse: bool,
    limit: int | None,
    shown: str | None,
    jsonl: bool,
    since: str | None,
    **filters: Any,
) -> None:
    """Show dead jobs and why they died, the newest last."""
    asked = which(**filters, state=["dead"], ended_since=since)
    wanted = Listing(invocation, asked, order_of(sort, reverse), limit, jsonl=jsonl, usual=COLUMNS)
    if shown is not None:
        wanted.choose(columns.read(shown))
    try:
        wanted.show()
    except InvalidParams as error:
        raise pointed(error, filters["filter"]) from None


@dlq.verb("show", example="queuectl dlq show job_7")
@click.argument("job", metavar="ID")
@pass_invocation
def show_dead(invocation: Invocation, job: str) -> None:
    """Show everything about a dead job, with every attempt to run it."""
    found = invocation.call("job.get", id=job)
    if found["state"] != "dead":
        raise WrongState(f"{found['id']} is not in the dead letter queue: it is {found['state']}")
    show_job(invocation, found)


@dlq.verb(
    "retry",
    example="""
        queuectl dlq retry job_7 job_8
        queuectl dlq retry job_7 timeout=10m 'command=make -k'
        queuectl dlq retry --all --rate 10/m
        queuectl dlq retry --queue nightly --reason timeout --dry-run
    """,
)
@click.argument("words", nargs=-1, metavar="[ID]... [KEY=VALUE]...")
@click.option("--all", "every", is_flag=True, help="All dead jobs.")
@filter_options("Dead")
@click.option("--rate", metavar="N/UNIT", help="Spread the retries at this rate (10/m; s, m, h, d), starting now.")
@dry_run_option
@pass_invocation
def retry_dead(
    invocation: Invocation, /, words: tuple[str, ...], every: bool, rate: str | None, dry_run: bool, **filters: Any
) -> int:
    """Run dead jobs again, with no failures counted and their history kept.

    Named by ID or selector, all, or those that the filters fit. KEY=VALUE changes each of them first, as queuectl
    edit does it. With --rate the daemon spreads them; nothing has to wait for it.
    """
    jobs, changes = ids_and_changes(words)
    params = _which(jobs, every, which(**filters))
    params |= {key: value for key, value in (("rate", rate), ("changes", changes)) if value}
    action = JobAction("dlq.retry", "retry", "retried", "will run again")
    return change(invocation, action, params, dry_run=dry_run, columns=COLUMNS)


@dlq.verb(
    "purge",
    example="""
        queuectl dlq purge job_7
        queuectl dlq purge --all --older-than 7d
        queuectl dlq purge --label user=ada --reason 'exit 3' -y
    """,
)
@click.argument("jobs", nargs=-1, metavar="[ID]...")
@click.option("--all", "every", is_flag=True, help="All dead jobs.")
@filter_options("Dead")
@click.option("--older-than", type=AGE, metavar="DURATION", help="Only jobs dead for at least this long (7d).")
@dry_run_option
@yes_option
@pass_invocation
def purge_dead(
    invocation: Invocation,
    /,
    jobs: tuple[str, ...],
    every: bool,
    older_than: float | None,
    dry_run: bool,
    yes: bool,
    **filters: Any,
) -> int:
    """Remove dead jobs for good, with their attempts and their output."""
    params = _which(jobs, every, which(**filters))
    if older_than is not None:
        params["older_than"] = older_than
    action = JobAction("dlq.purge", "purge", "purged", "removed")
    return change(invocation, action, params, dry_run=dry_run, confirm=not yes, columns=COLUMNS)


def _which(jobs: Sequence[str], every: bool, filters: dict[str, Any]) -> dict[str, Any]:
    if bool(jobs) is (every or bool(filters)):
        raise click.UsageError("give job IDs, or else --all or a filter such as --queue")
    return {"ids": list(jobs)} if jobs else {"all": every, **filters}
