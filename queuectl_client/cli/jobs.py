"""`queuectl list` and `queuectl show`: jobs as they are.

Lists stream in pages, so that memory does not grow with the queue.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final

import click

from queuectl_client.cli import render
from queuectl_client.cli.invocation import Invocation
from queuectl_client.cli.values import MOMENT
from queuectl_client.cli.verbs import pass_invocation, verb

Job = Mapping[str, Any]

CUT_AT: Final = 100
"""Rows of a table on a terminal: more would scroll away. What is piped or JSON is never cut."""
COUNTED: Final = 20_000
"""Rows that are counted one by one to say how many a cut table leaves out; beyond that: more than so many."""

STATES: Final = tuple(render.STATE_LABELS)
WAITING: Final = frozenset({"pending", "failed", "held", "blocked"})
"""States in which it matters when a job may run next."""
COLUMNS: Final = ("id", "state", "attempts", "queue", "created_at", "command")
HEADINGS: Final = {"attempts": "TRIES", "exit_code": "EXIT"}


@verb(
    "list",
    example="""
        queuectl list
        queuectl list --state failed --state dead --queue nightly
        queuectl list --label user=ada --since 2h --json
        queuectl list --state pending -q | xargs queuectl cancel
    """,
)
@click.option(
    "--state", "states", multiple=True, type=click.Choice(STATES, case_sensitive=False), help="In this state."
)
@click.option("--queue", metavar="NAME", help="In this queue.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="With this label.")
@click.option("--name", metavar="GLOB", help="With a name like this (x*).")
@click.option("--since", type=MOMENT, help="Enqueued since then: ISO 8601, or an age (2h, 7d).")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="The newest N alone.")
@click.option("--columns", metavar="KEY,…", help=f"What to show; {','.join(COLUMNS)} when not given.")
@click.option("--jsonl", is_flag=True, help="Print a JSON object a line.")
@pass_invocation
def list_jobs(invocation: Invocation, /, limit: int | None, columns: str | None, jsonl: bool, **filters: Any) -> None:
    """Show jobs, the newest last.

    All jobs are shown; a table on a terminal alone is cut to the newest 100.
    """
    asked = _filters(**filters)
    if limit is not None:
        jobs: Iterable[Job] = newest(invocation, limit, asked)
    elif render.on_terminal() and not (invocation.json or jsonl or invocation.quiet):
        jobs = _cut(invocation, asked)
    else:
        jobs = pages(invocation, **asked)
    show_jobs(invocation, jobs, columns.split(",") if columns else COLUMNS, jsonl=jsonl)


def _filters(states: tuple[str, ...], labels: tuple[str, ...], **rest: Any) -> dict[str, Any]:
    asked = {"state": list(states), "label": list(labels), **rest}
    return {key: value for key, value in asked.items() if value}


def show_jobs(invocation: Invocation, jobs: Iterable[Job], columns: Iterable[str], *, jsonl: bool = False) -> None:
    """Jobs as --json, --jsonl, --quiet or a table would have them."""
    if jsonl or invocation.json:
        from queuectl_client.cli.documents import write_array, write_lines

        (write_lines if jsonl else write_array)(jobs)
    elif invocation.quiet:
        for job in jobs:
            invocation.data(job["id"])
    else:
        shown = [column.strip().lower().replace("-", "_") for column in columns]
        rows = ([cell(job, column) for column in shown] for job in jobs)
        render.table(invocation, [HEADINGS.get(column, column.removesuffix("_at").upper()) for column in shown], rows)


def cell(job: Job, column: str) -> str:
    """What a table shows of this key of the job. Raises UsageError for a key that no job has."""
    if column not in job:
        raise click.UsageError(f"unknown column {column!r}; a job has {', '.join(sorted(job))}")
    value = job[column]
    if column == "state":
        return render.state_text(job)
    if column == "command":
        return render.command_text(value)
    if column == "attempts":
        return f"{value}/{max(job['max_retries'], 1)}"
    if column.endswith("_at"):
        return render.clock_time(value)
    if isinstance(value, dict):
        return render.escape(",".join(f"{name}={item}" for name, item in value.items())) or "-"
    if isinstance(value, list):
        return render.escape(",".join(item["id"] if isinstance(item, dict) else str(item) for item in value)) or "-"
    return "-" if value is None else render.escape(value)


def pages(invocation: Invocation, **asked: Any) -> Iterator[Job]:
    """The jobs, page by page as they are used. A page may be empty while more follow."""
    after = None
    while True:
        page = invocation.call("list", **asked, **({"after": after} if after is not None else {}))
        yield from page["jobs"]
        after = page["next"]
        if after is None:
            return


def newest(invocation: Invocation, count: int, asked: Mapping[str, Any]) -> list[Job]:
    """The newest `count` jobs, the oldest of them first."""
    jobs = list(islice(pages(invocation, **asked, order="newest", limit=min(count, 1000)), count))
    return jobs[::-1]


def _cut(invocation: Invocation, asked: Mapping[str, Any]) -> Iterable[Job]:
    """The newest 100, and a line on stderr that says how many more there are."""
    jobs = newest(invocation, CUT_AT, asked)
    if len(jobs) == CUT_AT:
        more = _how_many(invocation, asked)
        if more:
            invocation.say(f"{more} not shown: --limit N shows more, a pipe or --json shows all.")
    if not jobs:
        invocation.say("No jobs.")
    return jobs


def _how_many(invocation: Invocation, asked: Mapping[str, Any]) -> str:
    """How many jobs there are besides the 100 shown; empty for none."""
    if not set(asked) - {"state"}:
        counts = invocation.call("status")["counts"]
        total = sum(counts[state] for state in asked.get("state") or counts)
    else:
        total = sum(1 for _ in islice(pages(invocation, **asked, order="newest"), COUNTED + CUT_AT))
        if total == COUNTED + CUT_AT:
            return f"More than {COUNTED:,} older jobs"
    return render.plural(total - CUT_AT, "older job") if total > CUT_AT else ""


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
    render.fields(invocation, _described(job))
    attempts = job.get("attempts_list") or []
    if attempts:
        invocation.data("")
        sys.stdout.flush()
        headers = ("ATTEMPT", "WORKER", "STARTED", "TOOK", "CPU", "MEMORY", "END")
        render.table(invocation, headers, map(_attempt_row, attempts))


def _attempt_row(attempt: Mapping[str, Any]) -> list[str]:
    cpu = attempt.get("user_time")
    if cpu is not None:
        cpu += attempt.get("system_time") or 0
    memory = attempt.get("max_rss_kib")
    end = render.result_text(attempt)
    if attempt.get("left_behind"):
        end += f"; left behind: {render.escape(attempt['left_behind'])}"
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
        if job.get(key) and (key != "run_at" or job["state"] in WAITING):
            yield title, render.full_time(job[key])
    if job.get("timeout"):
        yield "Time-out", render.duration(job["timeout"])
    yield "Folder", render.escape(job.get("cwd") or "-")
    for key, title in (("unique_key", "Unique key"), ("key", "Key")):
        if job.get(key):
            yield title, render.escape(job[key])


def _counted(job: Job) -> str:
    runs, crashes = job.get("runs") or 0, job.get("crashes") or 0
    words = f", {render.plural(runs, 'run')} begun" if runs != job["attempts"] else ""
    return words + (f", {crashes} cut short by a crash" if crashes else "")
