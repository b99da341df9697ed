"""`queuectl list` and `queuectl show`: jobs as they are.

Lists stream in pages, so that memory does not grow with the queue.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import click

from queuectl_client.cli.framework import pass_invocation, verb
from queuectl_client.cli.invocation import Invocation
from queuectl_client.cli.jobinput.values import DURATION, MOMENT, PAIR
from queuectl_client.cli.output import columns, listing, render
from queuectl_client.cli.output.columns import cell
from queuectl_client.cli.output.listing import Order
from queuectl_client.cli.output.printing import fields, table
from queuectl_client.errors import InvalidParams
from queuectl_client.protocol.attributes import KINDS
from queuectl_client.protocol.spelling import hint
from queuectl_client.protocol.vocabulary import WAITING_STATES

Job = Mapping[str, Any]

CUT_AT: Final = 100
"""Rows of a table on a terminal: more would scroll away. What is piped or JSON is never cut."""

COLUMNS: Final = columns.DEFAULT
STATES: Final = tuple(render.STATE_LABELS)
"""States in which it matters when a job may run next."""


class State(click.Choice[str]):
    """A state; for a mistyped one the nearest is named."""

    def __init__(self) -> None:
        super().__init__(STATES, case_sensitive=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The state as the wire has it."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            self.fail(error.message.rstrip(".") + hint(str(value).lower(), STATES), param, ctx)


def _some_name(ctx: click.Context, parameter: click.Parameter, given: str | None) -> str | None:
    """A callback: a name that is empty is a variable that was not set, and would list everything."""
    del ctx
    if given == "":
        raise click.BadParameter("it is empty; omit the option to list all jobs", param=parameter)
    return given


MOST: Final = 2**53
"""More jobs than there can be."""


@verb(
    "list",
    example="""
        queuectl list
        queuectl list --state failed --state dead --queue nightly
        queuectl list --filter 'state=failed and attempts>2'
        queuectl list --filter "label.user=ada and not (exit_code=0 or duration<10s)" --since 2h
        queuectl list --sort -duration --limit 10 --columns id,duration,command
        queuectl list --watch
        queuectl list --state pending -q | xargs queuectl cancel
    """,
)
@click.option("--state", "states", multiple=True, type=State(), help="In this state; repeatable.")
@click.option("--queue", metavar="NAME", callback=_some_name, help="In this queue.")
@click.option("--label", "labels", type=PAIR, multiple=True, help="With this label; repeatable.")
@click.option("--name", metavar="GLOB", callback=_some_name, help="With a name that matches this pattern (x*).")
@click.option("--batch", metavar="NAME", callback=_some_name, help="Of this batch.")
@click.option("--since", type=MOMENT, help="Enqueued since then: ISO 8601 or an age (2h, 7d).")
@click.option("--filter", "filter", metavar="EXPR", help="That match this expression; see below.")
@click.option("--sort", "sort", metavar="KEY", help="Sort by this key; -KEY sorts descending.")
@click.option("--reverse", is_flag=True, help="Reverse the order.")
@click.option("--limit", type=click.IntRange(1, MOST), metavar="N", help="Only the newest N; with --sort the first N.")
@click.option(
    "--columns",
    "shown",
    metavar="KEY,…",
    help=f"Columns to show, also with --json; default: {','.join(COLUMNS)}.",
)
@click.option("--jsonl", is_flag=True, help="Print one JSON object per line.")
@click.option(
    "-w",
    "--watch",
    is_flag=False,
    flag_value="0.25",
    type=DURATION,
    help="Redraw the table on changes, at most once per interval (default 0.25 s), until Ctrl-C.",
)
@pass_invocation
def list_jobs(
    invocation: Invocation,
    /,
    sort: str | None,
    reverse: bool,
    limit: int | None,
    shown: str | None,
    jsonl: bool,
    watch: float | None,
    **filters: Any,
) -> None:
    """Show jobs, the newest last.

    All jobs are shown; a table on a terminal alone is cut to the newest 100.

    A filter compares keys of a job: = != < <= > >=, for text ~ and !~ (a glob), KEY in (A, B), joined by and, or, not
    and parentheses. Besides the keys there are label.NAME, needs.NAME, duration (of the newest run) and age; `none` is
    what an absent value equals. Durations are 90, 10s or 1h30m; times ISO 8601, or ages: created_at>2h is newer than
    two hours.
    """
    wanted = Listing(invocation, _filters(**filters), _order(sort, reverse), limit, jsonl=jsonl)
    if shown is not None:
        wanted.choose(columns.read(shown))
    try:
        if watch is None:
            wanted.show()
        else:
            wanted.watch(watch)
    except InvalidParams as error:
        raise _pointed(error, filters["filter"]) from None


def _filters(states: tuple[str, ...], labels: tuple[tuple[str, str], ...], **rest: Any) -> dict[str, Any]:
    asked = {"state": list(states), "label": dict(labels), **rest}
    return {key: value for key, value in asked.items() if value or (key == "filter" and value is not None)}


def _order(sort: str | None, reverse: bool) -> Order | None:
    """The order asked for; None for that of enqueueing, which takes no sorting."""
    if sort is None:
        return Order("seq", descending=True) if reverse else None
    key = columns.one(sort.removeprefix("-"), "sort key", tuple(KINDS))
    return Order(key, descending=sort.startswith("-") is not reverse)


def _pointed(error: InvalidParams, text: str | None) -> InvalidParams:
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
        self, invocation: Invocation, asked: dict[str, Any], order: Order | None, limit: int | None, *, jsonl: bool
    ) -> None:
        self._invocation = invocation
        self._asked = asked
        self._order = order
        self._limit = limit
        self._jsonl = jsonl
        self._columns: Sequence[str] = COLUMNS
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
            return {**self._asked, "keys": ["id"]}
        keys = columns.keys_for(self._columns) if self._as_table or self._chosen else None
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


@verb("show", example="queuectl show job_7\nqueuectl show last --json")
@click.argument("job", metavar="ID")
@pass_invocation
def show(invocation: Invocation, job: str) -> None:
    """Show everything about a job, with every attempt to run it."""
    show_job(invocation, invocation.call("job.get", id=job))


def show_job(invocation: Invocation, job: Job) -> None:
    """A whole job: its keys, a line each, then a table of its attempts."""
    if invocation.json:
        invocation.document(job)
        return
    fields(invocation, _described(job))
    attempts = job.get("attempts_list") or []
    if attempts:
        invocation.data("")
        sys.stdout.flush()
        headers = ("ATTEMPT", "WORKER", "STARTED", "TOOK", "CPU", "MEMORY", "END")
        table(invocation, headers, map(_attempt_row, attempts))


def _attempt_row(attempt: Mapping[str, Any]) -> list[str]:
    cpu = attempt.get("user_time")
    if cpu is not None:
        cpu += attempt.get("system_time") or 0
    memory = attempt.get("max_rss_kib")
    end = render.result_text(attempt)
    if attempt.get("left_behind"):
        end += f"; left behind: {render.escape(attempt['left_behind'])}"
    if attempt.get("output_dropped"):
        end += f"; {attempt['output_dropped']:,} bytes of output were dropped"
    return [
        str(attempt["attempt"]),
        attempt.get("worker") or "-",
        render.clock_time(attempt.get("started_at")),
        render.duration(attempt.get("duration")),
        render.duration(cpu),
        render.size(None if memory is None else memory * 1024),
        end,
    ]


def _described(job: Job) -> Iterator[tuple[str, str]]:
    """What there is to tell of a job, in the order in which people ask for it; what is as usual is left out."""
    yield "Job", f"{job['id']}  (seq {job['seq']})"
    yield "State", render.state_text(job)
    yield "Command", render.command_text(job["command"])
    if job.get("name"):
        yield "Name", render.escape(job["name"])
    for key, title in (("labels", "Labels"), ("needs", "Needs"), ("depends_on", "After")):
        if job.get(key):
            yield title, cell(job, key)
    yield "Queue", f"{render.escape(job['queue'])}, priority {job['priority']}"
    yield "Failures", f"{job['attempts']} of at most {max(job['max_retries'], 1)}" + _counted(job)
    if job.get("reason") or job.get("exit_code") is not None:
        yield "Result", render.result_text(job)
    if job.get("worker"):
        yield "Worker", render.escape(job["worker"])
    yield "Enqueued", render.full_time(job["created_at"])
    for key, title in (("started_at", "Started"), ("finished_at", "Finished"), ("run_at", "Not before")):
        if job.get(key) and (key != "run_at" or job["state"] in WAITING_STATES):
            yield title, render.full_time(job[key])
    if job.get("timeout"):
        yield "Timeout", render.duration(job["timeout"])
    yield "Folder", render.escape(job.get("cwd") or "-")
    for key, title in (("unique_key", "Unique key"), ("key", "Key")):
        if job.get(key):
            yield title, render.escape(job[key])


def _counted(job: Job) -> str:
    runs, crashes = job.get("runs") or 0, job.get("crashes") or 0
    words = f", {render.plural(runs, 'run')} started" if runs != job["attempts"] else ""
    return words + (f", {crashes} interrupted by a crash" if crashes else "")
