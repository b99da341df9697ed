"""`queuectl dlq`: the dead letter queue, where jobs are that gave up."""

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import click

from queuectl_client.cli.commands.job_actions import JobAction, change, dry_run_option, yes_option
from queuectl_client.cli.commands.jobs import Job, show_job, show_jobs
from queuectl_client.cli.framework import noun, pass_invocation
from queuectl_client.cli.invocation import Invocation
from queuectl_client.cli.jobinput.changes import Change, typed
from queuectl_client.cli.jobinput.values import DURATION, MOMENT
from queuectl_client.errors import WrongState

COLUMNS: Final = ("id", "attempts", "queue", "finished_at", "reason", "command")
_CHANGE: Final = re.compile(r"[A-Za-z_-]+(\.[^=]*)?=")
"""How KEY=VALUE begins. A selector with an equals sign in it, `label:k=v`, has a colon before."""

_FILTERS: Final = (
    click.option("--queue", metavar="NAME", help="Of this queue."),
    click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="With this label."),
    click.option("--name", metavar="GLOB", help="With a name that matches this pattern (x*)."),
    click.option("--since", type=MOMENT, help="Dead since then: ISO 8601 or an age (2h, 7d)."),
    click.option("--reason", metavar="TEXT", help="Whose reason begins with TEXT: 'exit 3', timeout, signal."),
    click.option("--filter", "filter", metavar="EXPR", help="That match this filter expression (see queuectl list)."),
)


def _filters(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_FILTERS):
        function = option(function)
    return function


def _filter_params(labels: tuple[str, ...], **rest: Any) -> dict[str, Any]:
    return {key: value for key, value in {"label": list(labels), **rest}.items() if value}


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
        queuectl dlq list --json
    """,
)
@_filters
@pass_invocation
def list_dead(invocation: Invocation, /, **filters: Any) -> None:
    """Show dead jobs and why they died, the newest last."""
    show_jobs(invocation, _dead(invocation, _filter_params(**filters)), COLUMNS)


def _dead(invocation: Invocation, params: dict[str, Any]) -> Iterator[Job]:
    after: dict[str, Any] = {}
    while True:
        page = invocation.call("dlq.list", **params, **after)
        yield from page["jobs"]
        if page["next"] is None:
            return
        after = {"after": page["next"]}


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
@_filters
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
    jobs = tuple(word for word in words if not _CHANGE.match(word))
    changes = typed(Change().convert(word, None, None) for word in words if _CHANGE.match(word))
    params = _which(jobs, every, _filter_params(**filters))
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
@_filters
@click.option("--older-than", type=DURATION, metavar="DURATION", help="Only jobs dead for at least this long (7d).")
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
    params = _which(jobs, every, _filter_params(**filters))
    if older_than is not None:
        params["older_than"] = older_than
    action = JobAction("dlq.purge", "purge", "purged", "removed")
    return change(invocation, action, params, dry_run=dry_run, confirm=not yes, columns=COLUMNS)


def _which(jobs: tuple[str, ...], every: bool, filters: dict[str, Any]) -> dict[str, Any]:
    if bool(jobs) is (every or bool(filters)):
        raise click.UsageError("give job IDs, or else --all or a filter such as --queue")
    return {"ids": list(jobs)} if jobs else {"all": every, **filters}
