"""What list, dlq list, prune and dlq purge have in common: filters, columns, order, limit, and how jobs are shown.

Lists stream in pages, so that memory does not grow with the queue.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Final

import click

from queuectl_client.cli.invocation import Invocation
from queuectl_client.cli.jobinput.values import MOMENT, PAIR
from queuectl_client.cli.output import columns, listing, render
from queuectl_client.cli.output.columns import cell
from queuectl_client.cli.output.listing import Order
from queuectl_client.cli.output.printing import table
from queuectl_client.errors import InvalidParams
from queuectl_client.protocol.attributes import KINDS

Job = Mapping[str, Any]
Function = Callable[..., Any]

CUT_AT: Final = 100
"""Rows of a table on a terminal: more would scroll away. What is piped or JSON is never cut."""
COLUMNS: Final = columns.DEFAULT
MOST: Final = 2**53
"""More jobs than there can be."""


def _some_name(ctx: click.Context, parameter: click.Parameter, given: str | None) -> str | None:
    """A callback: a name that is empty is a variable that was not set, and would list everything."""
    del ctx
    if given == "":
        raise click.BadParameter("it is empty; omit the option to list all jobs", param=parameter)
    return given


def _filter_options(since: str) -> list[Callable[[Function], Function]]:
    return [
        click.option("-Q", "--queue", metavar="NAME", callback=_some_name, help="In this queue."),
        click.option("-l", "--label", "labels", type=PAIR, multiple=True, help="With this label; repeatable."),
        click.option(
            "-n", "--name", metavar="GLOB", callback=_some_name, help="With a name that matches this pattern (x*)."
        ),
        click.option("--batch", metavar="NAME", callback=_some_name, help="Of this batch."),
        click.option("--since", type=MOMENT, help=f"{since} since then: ISO 8601 or an age (2h, 7d)."),
        click.option(
            "--reason",
            metavar="TEXT",
            callback=_some_name,
            help="Whose reason begins with TEXT: 'exit 3', timeout, signal.",
        ),
        click.option(
            "--filter", "filter", metavar="EXPR", help="That match this filter expression (see queuectl list --help)."
        ),
    ]


def filter_options(since: str) -> Callable[[Function], Function]:
    """Give a verb the options that say which jobs; `since`: what they did since the time of that option."""

    def decorate(function: Function) -> Function:
        for option in reversed(_filter_options(since)):
            function = option(function)
        return function

    return decorate


def listing_options(usual: Sequence[str]) -> Callable[[Function], Function]:
    """Give a verb the options that say how jobs are listed; `usual`: the columns without --columns."""

    def decorate(function: Function) -> Function:
        for option in (
            click.option("--jsonl", is_flag=True, help="Print one JSON object per line."),
            click.option(
                "--columns",
                "shown",
                metavar="KEY,…",
                help=f"Columns to show, also with --json; default: {','.join(usual)}.",
            ),
            click.option(
                "--limit",
                type=click.IntRange(1, MOST),
                metavar="N",
                help="Only the newest N; with --sort the first N.",
            ),
            click.option("--reverse", is_flag=True, help="Reverse the order."),
            click.option("--sort", "sort", metavar="KEY", help="Sort by this key; -KEY sorts descending."),
        ):
            function = option(function)
        return function

    return decorate


def which(labels: tuple[tuple[str, str], ...], **rest: Any) -> dict[str, Any]:
    """The parameters of a call that the filter options stand for."""
    asked = {"label": dict(labels), **rest}
    return {key: value for key, value in asked.items() if value or (key == "filter" and value is not None)}


def order_of(sort: str | None, reverse: bool) -> Order | None:
    """The order asked for; None for that of enqueueing, which takes no sorting."""
    if sort is None:
        return Order("seq", descending=True) if reverse else None
    key = columns.one(sort.removeprefix("-"), "sort key", tuple(KINDS))
    return Order(key, descending=sort.startswith("-") is not reverse)


def pointed(error: InvalidParams, text: str | None) -> InvalidParams:
    """The error; where it is about a place in the filter, with a mark at the place."""
    position = error.data.get("position")
    if text is None or not isinstance(position, int) or "\n" in text:
        return error
    begin = max(0, position - 50)
    piece = render.escape(text[begin : position + 30])
    mark = " " * render.cells(render.escape(text[begin:position])) + "^"
    return InvalidParams(f"{error.message}\n  {piece}\n  {mark}", error.data)


class Listing:
    """One `queuectl list`: which jobs, in which order, how many, and how they are shown."""

    def __init__(
        self,
        invocation: Invocation,
        asked: dict[str, Any],
        order: Order | None,
        limit: int | None,
        *,
        jsonl: bool,
        usual: Sequence[str] = COLUMNS,
    ) -> None:
        self._invocation = invocation
        self._asked = asked
        self._order = order
        self._limit = limit
        self._jsonl = jsonl
        self._columns = usual
        self._chosen = False
        self._as_table = not (invocation.json or jsonl or invocation.quiet)

    def choose(self, names: Sequence[str]) -> None:
        """Show these columns instead of the usual ones; they are the keys of the JSON, too."""
        self._columns, self._chosen = names, True

    def show(self) -> None:
        """Print the list, once."""
        asked = self._with_keys()
        if self._as_table and self._limit is None and render.on_terminal():
            self._show_cut(asked)
            return
        show_jobs(
            self._invocation,
            self._jobs(asked, self._limit),
            self._columns,
            jsonl=self._jsonl,
            keys=self._columns if self._chosen else None,
        )

    def watch(self, every: float) -> None:
        """Print the list again and again, until Ctrl-C."""
        if not self._as_table:
            raise click.UsageError("--watch draws a table; for programs use: queuectl events --follow --json")
        from queuectl_client.cli.output.watching import watch

        asked = self._with_keys()
        watch(
            self._invocation,
            [columns.heading(column) for column in self._columns],
            lambda room: self._rows(asked, room),
            every=every,
        )

    def _rows(self, asked: Mapping[str, Any], room: int | None) -> list[list[str]]:
        """The cells of the jobs that find room; None: of all that would be shown."""
        few = [count for count in (room, self._limit) if count is not None]
        jobs = self._jobs(asked, min(few) if few else CUT_AT)
        return [[cell(job, column) for column in self._columns] for job in jobs]

    def _jobs(self, asked: Mapping[str, Any], limit: int | None) -> Iterable[Job]:
        if "ids" in asked:
            named = listing.pages(self._invocation, **asked)
            return islice(named if self._order is None else self._order.sorted(named), limit)
        if self._order is None:
            if limit is None:
                return listing.pages(self._invocation, **asked)
            return listing.newest(self._invocation, limit, asked)
        if self._order == Order("seq", descending=True):
            return listing.newest_first(self._invocation, asked, limit)
        return listing.in_order(self._invocation, self._order, asked, limit)

    def _show_cut(self, asked: Mapping[str, Any]) -> None:
        """The first, or the newest, 100; and below them how many more there are."""
        jobs = list(self._jobs(asked, CUT_AT))
        more = listing.how_many_more(self._invocation, CUT_AT, asked) if len(jobs) == CUT_AT else ""
        if not jobs:
            self._invocation.say("No jobs.")
            return
        show_jobs(self._invocation, jobs, self._columns)
        if more:
            self._invocation.say(f"{more} not shown: --limit N shows more, a pipe or --json shows all.")

    def _with_keys(self) -> dict[str, Any]:
        """What is asked for, with the keys that are needed where those can be had alone."""
        if self._invocation.quiet and not self._jsonl and not self._invocation.json:
            by = () if self._order is None else ("seq", self._order.key)
            return {**self._asked, "keys": list(dict.fromkeys(("id", *by)))}
        keys = columns.keys_for(self._columns) if self._as_table or self._chosen else None
        if keys is not None and "ids" in self._asked and self._order is not None:
            keys = list(dict.fromkeys((*keys, "seq", self._order.key)))
        return self._asked if keys is None else {**self._asked, "keys": keys}


def show_jobs(
    invocation: Invocation,
    jobs: Iterable[Job],
    names: Iterable[str],
    *,
    jsonl: bool = False,
    keys: Sequence[str] | None = None,
) -> None:
    """Jobs as --json, --jsonl, --quiet or a table would have them. `keys`: these alone of each, in JSON."""
    if jsonl or invocation.json:
        from queuectl_client.cli.output.jsonlines import write_array, write_lines

        if keys is not None:
            jobs = ({key: columns.value_of(job, key) for key in keys} for job in jobs)
        (write_lines if jsonl else write_array)(jobs)
    elif invocation.quiet:
        for job in jobs:
            invocation.data(job["id"])
    else:
        shown = list(names)
        rows = ([cell(job, column) for column in shown] for job in jobs)
        table(invocation, [columns.heading(column) for column in shown], rows)
