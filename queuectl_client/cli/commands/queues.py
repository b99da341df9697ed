"""`queuectl queue`: the queues, their limits, and pausing them."""

import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

import click

from queuectl_client.cli.framework import noun, pass_invocation
from queuectl_client.cli.invocation import Invocation
from queuectl_client.cli.jobinput.values import WHOLE
from queuectl_client.cli.output import render
from queuectl_client.cli.output.printing import table
from queuectl_client.errors import NotFound

Queue = dict[str, Any]

HEADERS: Final = ("QUEUE", "IS", "PENDING", "PROCESSING", "FAILED", "DEAD", "COMPLETED", "RATE", "FAILURES")


class Limit(click.ParamType[float]):
    """A whole number, or `none` for no limit."""

    name = "N|none"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number of what was typed; 0 for none."""
        return 0 if value == "none" else WHOLE.convert(value, param, ctx)


@noun(
    "queue",
    example="""
        queuectl queue list
        queuectl queue set nightly --concurrency 2 --rate 10/m
        queuectl queue pause nightly --wait
        queuectl queue resume --all
    """,
)
def queue() -> None:
    """Queues: which there are, and whether jobs in them start. A queue appears when a job, or queue set, names it."""


@queue.verb("list", example="queuectl queue list\nqueuectl queue list --json")
@pass_invocation
def list_queues(invocation: Invocation) -> None:
    """Show all queues: their jobs, their limits, and why one is closed.

    PROCESSING is told with the queue's concurrency, FAILURES in a row with the limit that pauses it.
    """
    queues: list[Queue] = invocation.call("queue.list")["queues"]
    if invocation.json:
        invocation.document(queues)
    elif invocation.quiet:
        for row in queues:
            invocation.data(row["name"])
    else:
        table(invocation, HEADERS, map(_row, queues))
        sys.stdout.flush()
        for row in queues:
            if why := _why_closed(row):
                invocation.say(f"{row['name']}: {why}")


def _row(row: Queue) -> tuple[str, ...]:
    counts = row["counts"]
    return (
        render.escape(row["name"]),
        "paused" if row["paused"] else "open" if not _is_full(row) else "full",
        str(counts["pending"]),
        _of(counts["processing"], row["concurrency"]),
        *(str(counts[state]) for state in ("failed", "dead", "completed")),
        row["rate"] or "-",
        "-" if row["failure_limit"] is None else _of(row["failures"], row["failure_limit"]),
    )


def _of(count: int, limit: int | None) -> str:
    return str(count) if limit is None else f"{count} of {limit}"


def _is_full(row: Queue) -> bool:
    return row["concurrency"] is not None and row["counts"]["processing"] >= row["concurrency"]


def _why_closed(row: Queue) -> str:
    """Why none of its jobs start, in words; nothing when they do."""
    if row["paused"]:
        why = f"by its failure limit: {row['reason']}" if row["reason"] else "by hand"
        return f"paused {why}. Resume it with: queuectl queue resume {row['name']}"
    if _is_full(row):
        return f"full: it runs {row['counts']['processing']} of at most {row['concurrency']} at once"
    return ""


@queue.verb(
    "set",
    example="""
        queuectl queue set nightly --concurrency 2
        queuectl queue set mail --rate 10/m --failure-limit 5
        queuectl queue set mail --rate none
    """,
)
@click.argument("name")
@click.option("--concurrency", type=Limit(), metavar="N|none", help="Maximum number of running jobs.")
@click.option("--rate", metavar="N/UNIT|none", help="Maximum number of starts per second, minute, hour or day: 10/m.")
@click.option("--failure-limit", type=Limit(), metavar="N|none", help="Pause the queue after N failures in a row.")
@pass_invocation
def set_limits(invocation: Invocation, /, name: str, **limits: Any) -> None:
    """Set the limits of a queue. What is not named stays as it is; none takes a limit away."""
    given = {key: value for key, value in limits.items() if value is not None}
    if not given:
        raise click.UsageError("give a limit to set: --concurrency, --rate or --failure-limit")
    _tell(invocation, invocation.call("queue.set", name=name, **given)["queues"], _limits)


def _limits(row: Queue) -> str:
    said = []
    if row["concurrency"] is not None:
        said.append(f"runs at most {render.plural(row['concurrency'], 'job')} at once")
    if row["rate"] is not None:
        said.append(f"starts at most {row['rate']}")
    if row["failure_limit"] is not None:
        said.append(f"pauses after {render.plural(row['failure_limit'], 'failure')} in a row")
    return ", ".join(said) or "has no limits"


@queue.verb(
    "pause",
    example="queuectl queue pause nightly mail\nqueuectl queue pause nightly --wait\nqueuectl queue pause --all",
)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--all", "every", is_flag=True, help="All queues.")
@click.option("--wait", is_flag=True, help="Return once none of their jobs is running.")
@pass_invocation
def pause(invocation: Invocation, names: tuple[str, ...], every: bool, wait: bool) -> None:
    """Start no more jobs of these queues; those that run go on. Ctrl-C ends a wait, not the pause."""
    rows = _each(invocation, "queue.pause", _named(invocation, names, every))
    if not wait:
        _tell(invocation, rows, lambda _: "is paused: no job of it starts until it is resumed")
        return
    for row in rows:
        if running := row["counts"]["processing"]:
            invocation.say(f"Queue {row['name']} is paused; {render.plural(running, 'job')} of it still to end.")
    rows = _each(invocation, "queue.pause", [row["name"] for row in rows], wait=True)
    _tell(invocation, rows, _waited)


def _waited(row: Queue) -> str:
    return "is paused, and nothing of it runs" if row["paused"] else "was resumed by somebody else meanwhile"


@queue.verb("resume", example="queuectl queue resume nightly\nqueuectl queue resume --all")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--all", "every", is_flag=True, help="All queues.")
@pass_invocation
def resume(invocation: Invocation, names: tuple[str, ...], every: bool) -> None:
    """Start jobs of these queues again."""
    _tell(invocation, _each(invocation, "queue.resume", _named(invocation, names, every)), lambda _: "is open")


@queue.verb("rm", example="queuectl queue rm nightly")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@pass_invocation
def remove(invocation: Invocation, names: tuple[str, ...]) -> None:
    """Remove queues that have no jobs, with their limits. Ended jobs count; queuectl prune removes them."""
    _tell(invocation, _each(invocation, "queue.remove", names), lambda _: "removed")


def _named(invocation: Invocation, names: tuple[str, ...], every: bool) -> Sequence[str]:
    if bool(names) is every:
        raise click.UsageError("give the names of queues, or else --all")
    return [row["name"] for row in invocation.call("queue.list")["queues"]] if every else names


def _each(invocation: Invocation, method: str, names: Sequence[str], **params: Any) -> list[Queue]:
    """The queues as they are after the call for each. Raises NotFound, for `all` with the option that means it."""
    rows: list[Queue] = []
    if len(names) > 1:  # one that is not there is refused before another is changed
        there = {row["name"] for row in invocation.call("queue.list")["queues"]}
        names = sorted(dict.fromkeys(names), key=there.__contains__)
    for name in names:
        try:
            rows += invocation.call(method, name=name, **params)["queues"]
        except NotFound as error:
            if name != "all" or method == "queue.remove":
                raise
            raise NotFound("no such queue: 'all'; for all queues use --all", error.data) from None
    return rows


def _tell(invocation: Invocation, rows: list[Queue], what: Callable[[Queue], str]) -> None:
    """The queues that were changed: their JSON, or a line that says it was done; with --quiet their names."""
    if invocation.json:
        invocation.document(rows)
        return
    for row in rows:
        invocation.data(row["name"] if invocation.quiet else f"Queue {render.escape(row['name'])} {what(row)}")
