"""`queuectl list` and `queuectl show`: jobs as they are.

Lists stream in pages, so that memory does not grow with the queue.
"""

import sys
from collections.abc import Iterator, Mapping
from typing import Any

import click

from queuectl_client.cli.commands.listing import (
    COLUMNS,
    Job,
    Listing,
    filter_options,
    listing_options,
    order_of,
    pointed,
    show_jobs,
    which,
)
from queuectl_client.cli.framework import pass_invocation, verb
from queuectl_client.cli.invocation import Invocation
from queuectl_client.cli.jobinput.states import State
from queuectl_client.cli.jobinput.values import DURATION, MOMENT
from queuectl_client.cli.output import columns, render
from queuectl_client.cli.output.columns import cell
from queuectl_client.cli.output.printing import fields, table
from queuectl_client.errors import InvalidParams
from queuectl_client.protocol.vocabulary import WAITING_STATES

__all__ = ["COLUMNS", "Job", "list_jobs", "show", "show_job", "show_jobs"]


@verb(
    "list",
    example="""
        queuectl list
        queuectl list --state failed,dead --queue nightly
        queuectl list @dead batch:nightly
        queuectl list --filter 'state=failed and attempts>2'
        queuectl list --filter "label.user=ada and not (exit_code=0 or duration<10s)" --since 2h
        queuectl list --sort -duration --limit 10 --columns id,duration,command
        queuectl list --watch
        queuectl list --state pending -q | xargs queuectl cancel
    """,
)
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--state", "states", multiple=True, type=State(), help="In one of these states; repeatable.")
@filter_options("Enqueued")
@click.option("--ended-since", type=MOMENT, help="Ended since then.")
@listing_options(COLUMNS)
@click.option(
    "--watch",
    is_flag=False,
    flag_value="0.25",
    type=DURATION,
    help="Redraw the table on changes, at most once per interval (default 0.25 s), until Ctrl-C.",
)
@click.option("-w", "watch", is_flag=True, flag_value="0.25", type=DURATION, hidden=True)
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
    """Show jobs, the newest last: all, or those that an ID stands for (an id, a number, last, 3-9, @STATE, label:K=V).

    All of them are shown; a table on a terminal alone is cut to the newest 100.

    A filter compares keys of a job: = != < <= > >=, for text ~ and !~ (a glob), KEY in (A, B), joined by and, or, not
    and parentheses. Besides the keys there are label.NAME, needs.NAME, duration (of the newest run) and age; `none` is
    what an absent value equals. Durations are 90, 10s or 1h30m; times ISO 8601, or ages: created_at>2h is newer than
    two hours.
    """
    wanted = Listing(invocation, _filters(**filters), order_of(sort, reverse), limit, jsonl=jsonl)
    if shown is not None:
        wanted.choose(columns.read(shown))
    try:
        if watch is None:
            wanted.show()
        else:
            wanted.watch(watch)
    except InvalidParams as error:
        raise pointed(error, filters["filter"]) from None


def _filters(
    ids: tuple[str, ...], states: tuple[tuple[str, ...], ...], labels: tuple[tuple[str, str], ...], **rest: Any
) -> dict[str, Any]:
    """What the daemon is asked for. IDs that are all states are a filter: the daemon looks for no other jobs then."""
    state = [state for some in states for state in some]
    if ids and not state and all(word.startswith("@") for word in ids):
        state, ids = [one for word in ids for one in State().convert(word, None, None)], ()
    return which(labels, ids=[] if ids == ("all",) else list(ids), state=state, **rest)


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
