"""Columns of a table of jobs: their names, cells, and the keys of a job that they need."""

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
"""Prefix of a column that shows the value of a label."""

_SHORT: Final = {
    "failures": "attempts", "exit": "exit_code", "created": "created_at", "updated": "updated_at",
    "started": "started_at", "finished": "finished_at", "after": "depends_on", "label": "labels",
}  # fmt: skip
"""Aliases of columns."""
_BESIDES: Final = {"attempts": ("max_retries",), "state": ("paused",)}
"""Additional keys that a column needs."""


def read(text: str) -> list[str]:
    """Parse a comma-separated list of columns. Raise UsageError for an unknown key, suggesting the nearest."""
    return [one(part, "column") for part in text.split(",") if part.strip()] or _none(text)


def one(text: str, what: str, known: Sequence[str] = KNOWN) -> str:
    """Return the key for this text. Raise UsageError for an unknown one, suggesting the nearest."""
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
    """Return the keys of a job that these columns need; None: the whole job."""
    wanted = [key for column in columns for key in (column, *_BESIDES.get(column, ()))]
    return list(dict.fromkeys(wanted)) if all(key in KINDS for key in wanted) else None


def heading(column: str) -> str:
    """Return the heading of a column: its name in capitals."""
    return column if column.startswith(LABEL) else column.upper()


def value_of(job: Job, column: str) -> Any:
    """Return the JSON value of a column."""
    if column.startswith(LABEL):
        return job["labels"].get(column.removeprefix(LABEL))
    if column in COMPUTED and column not in job:
        return _computed(job, column)
    return job[column]


def cell(job: Job, column: str) -> str:
    """Return the text of a cell, escaped for terminals; `-` if the value is absent."""
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
    """Return the text of a value in a map. Several numbers are joined with a plus, as commas separate entries."""
    return "+".join(map(str, item)) if isinstance(item, list) else str(item)


def _computed(job: Job, column: str) -> float | None:
    """Return the `duration` or `age` of a whole job, which does not contain them."""
    running = column == "age" or job["state"] == "processing"
    begin = job["created_at"] if column == "age" else job["started_at"]
    end = datetime.now(UTC).isoformat() if running else job["finished_at"]
    if begin is None or end is None:
        return None
    return (render.parse_time(end) - render.parse_time(begin)).total_seconds()
