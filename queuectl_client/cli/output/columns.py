"""The columns of a table of jobs: which there are, what each shows, and which keys of a job it needs for that."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import click

from queuectl_client.cli.output import render
from queuectl_client.protocol.attributes import COMPUTED, KINDS, SHOWN, ValueKind
from queuectl_client.protocol.spelling import hint, snake_case

Job = Mapping[str, Any]

DEFAULT: Final = ("id", "state", "attempts", "queue", "created_at", "command")
KNOWN: Final = (*SHOWN, *sorted(COMPUTED))
LABEL: Final = "label."
"""Before the name of a label, whose value is a column then."""

_SHORT: Final = {
    "failures": "attempts", "exit": "exit_code", "created": "created_at", "updated": "updated_at",
    "started": "started_at", "finished": "finished_at", "after": "depends_on", "label": "labels",
}  # fmt: skip
"""Other names that columns are asked for by."""
_BESIDES: Final = {"attempts": ("max_retries",), "state": ("paused",)}
"""Keys that a column needs besides its own."""


def read(text: str) -> list[str]:
    """The columns of a list with commas. Raises UsageError for a key that no job has, with the nearest one."""
    return [one(part, "column") for part in text.split(",") if part.strip()] or _none(text)


def one(text: str, what: str, known: Sequence[str] = KNOWN) -> str:
    """The key that this stands for. Raises UsageError that names the nearest key and says what is allowed."""
    key = text.strip()
    if key.startswith(LABEL) and key != LABEL and known is KNOWN:
        return key
    name = snake_case(key)
    if (name := _SHORT.get(name, name)) in known:
        return name
    raise click.UsageError(f"unknown {what} {key!r}{hint(name, known)}; expected one of {', '.join(known)}")


def _none(text: str) -> list[str]:
    raise click.UsageError(f"no column in {text!r}; expected some of {', '.join(KNOWN)}")


def keys_for(columns: Iterable[str]) -> list[str] | None:
    """The keys of a job that these columns show; None when that takes the whole job."""
    wanted = [key for column in columns for key in (column, *_BESIDES.get(column, ()))]
    return list(dict.fromkeys(wanted)) if all(key in KINDS for key in wanted) else None


def heading(column: str) -> str:
    """What stands over a column: the name by which it is asked for."""
    return column if column.startswith(LABEL) else column.upper()


def value_of(job: Job, column: str) -> Any:
    """The value of a column, as JSON would have it."""
    if column.startswith(LABEL):
        return job["labels"].get(column.removeprefix(LABEL))
    if column in COMPUTED and column not in job:
        return _computed(job, column)
    return job[column]


def cell(job: Job, column: str) -> str:
    """What a table shows of this column for the job: safe on a terminal, `-` for nothing."""
    value = value_of(job, column)
    if column == "state":
        return render.state_text(job)
    if column == "command":
        return render.command_text(value)
    if column == "attempts":
        return f"{value}/{max(job['max_retries'], 1)}"
    if column == "signal" and value is not None:
        return render.signal_text(value)
    kind = KINDS.get(column)
    if kind is ValueKind.TIME:
        return render.clock_time(value)
    if kind is ValueKind.DURATION:
        return render.duration(value)
    if isinstance(value, bool):
        return "yes" if value else "-"
    if isinstance(value, dict):
        return render.escape(",".join(f"{name}={_listed(item)}" for name, item in value.items())) or "-"
    if isinstance(value, list):
        return render.escape(",".join(item["id"] if isinstance(item, dict) else str(item) for item in value)) or "-"
    return "-" if value is None else render.escape(value)


def _listed(item: object) -> str:
    """A value in a map; several numbers (of a granted resource) with a plus between them, for commas part entries."""
    return "+".join(map(str, item)) if isinstance(item, list) else str(item)


def _computed(job: Job, column: str) -> float | None:
    """`duration` or `age` of a whole job, in which they do not stand."""
    running = column == "age" or job["state"] == "processing"
    begin = job["created_at"] if column == "age" else job["started_at"]
    end = datetime.now(UTC).isoformat() if running else job["finished_at"]
    if begin is None or end is None:
        return None
    return (render.parse_time(end) - render.parse_time(begin)).total_seconds()
