"""The row of a job: from the records of the domain to its columns and back.

What stands in which column is said here once, by names. When this module is loaded it becomes positions, for a page has
a thousand jobs and a request a hundred thousand: records and rows are tuples, of which `itemgetter` takes many items at
once; only those that are stored otherwise than they are in memory are then looked at one by one.

A field of `Options` or `RetryPolicy` needs nothing here. It is the column of its name, and how it is stored follows
from its type and the column's.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from operator import attrgetter, itemgetter
from typing import Any, Final, NamedTuple, get_type_hints

from peewee import BlobField, Field, TextField

from queuectl_client.protocol.vocabulary import JobState
from queuectld.domain.job import Job, NewJob, Options
from queuectld.domain.reason import Reason
from queuectld.domain.retry import RetryPolicy
from queuectld.store.mapping import models, rows
from queuectld.store.mapping.rows import Row


class NewRow(NamedTuple):
    """Where a new job comes to stand."""

    seq: int
    id: str
    state: JobState
    queue: int
    lane: int | None
    upload: int | None
    due_ms: int | None
    run_at_ms: int | None
    created_ms: int
    finished_ms: int | None
    reason: Reason | None
    depends_on: tuple[tuple[str, str], ...]
    environment: int
    in_line: bool = False
    batch_id: int | None = None


_COLUMNS: Final[Mapping[str, Field]] = {field.name: field for field in models.Job._meta.sorted_fields}

Convert = Callable[[Any], Any]

_SOURCES: Final[Mapping[str, str]] = {
    "rank": "seq", "updated_ms": "created_ms", "argv": "command", "reason_code": "reason",
}  # fmt: skip
"""Columns of a new job whose source value has another name."""
_WRITE: Final[Mapping[str, Convert]] = {
    "state": attrgetter("_value_"),
    "in_line": int,
    "reason": lambda reason: rows.stored_reason(reason)[0],
    "reason_code": lambda reason: rows.stored_reason(reason)[1],
    "depends_on": rows.pack_json,
    "command": lambda command: rows.stored_text(command) if isinstance(command, str) else None,
    "argv": lambda command: None if isinstance(command, str) else rows.pack(list(command)),
}
INITIAL: Final[Mapping[str, Any]] = {
    "attempts": 0, "run": 0, "runs": 0, "crashes": 0, "worker": None, "ending": None, "paused": 0,
    "started_ms": None, "exit_code": None, "signal": None, "granted": None,
}  # fmt: skip
"""Columns that have the same value in every new job."""


class _Codec(NamedTuple):
    """Converters of a column; None: no conversion. NULL is read as `absent`, without a converter."""

    write: Convert | None = None
    read: Convert | None = None
    absent: Any = None


def _optional_text(text: str | None) -> str | bytes | None:
    return None if text is None else rows.stored_text(text)


def _codec(column: Field, type_: Any) -> _Codec:
    """Return the converters for values of this type in this column."""
    text = str(type_)
    if isinstance(column, models.AnyField):
        return _Codec(rows.stored_text if type_ is str else _optional_text, rows.read_text)
    if isinstance(column, BlobField):
        return _Codec(lambda value: rows.pack(dict(value)) if value else None, rows.unpack, {})
    if isinstance(column, TextField) and "Mapping[" in text:
        return _Codec(rows.pack_json, json.loads, {})
    if isinstance(column, TextField) and text.startswith("tuple["):
        return _Codec(rows.pack_json, lambda stored: tuple(json.loads(stored)), ())
    return _Codec(int, bool) if type_ is bool else _Codec()


_RETRY: Final = {name: _codec(_COLUMNS[name], type_) for name, type_ in get_type_hints(RetryPolicy).items()}
_OPTIONS: Final = {
    name: _codec(_COLUMNS[name], type_) for name, type_ in get_type_hints(Options).items() if name != "retry"
}
OPTION_COLUMNS: Final = tuple(name for name in _COLUMNS if name in _RETRY or name in _OPTIONS)
"""Columns of the options of a job, in the order of the model."""

_COMMON: Final = frozenset({
    "seq", "id", "state", "queue", "priority", "rank", "lane", "upload", "created_ms", "updated_ms", "max_retries",
    "backoff_base", "backoff_max", "backoff_jitter", "timeout_ms", "kill_grace_ms", "umask", "environment", "cwd",
    "command",
})  # fmt: skip
COMMON: Final = tuple(name for name in _COLUMNS if name in _COMMON)
"""Columns that are bound for every new job; binding all columns takes longer than the insert itself."""
_RARE: Final = tuple(name for name in _COLUMNS if name not in _COMMON and name not in INITIAL)


def _picker(names: Iterable[str], among: Sequence[str]) -> Callable[[Row], Row]:
    """Return a function that picks the items with these names from a tuple whose items are named `among`."""
    return itemgetter(*map(among.index, names))


def _conversions(names: Iterable[str], known: Mapping[str, Convert | None]) -> Sequence[tuple[int, Convert]]:
    """Return positions and converters of the items that are converted."""
    return [(position, convert) for position, name in enumerate(names) if (convert := known.get(name)) is not None]


_VALUE_NAMES: Final = (
    *NewRow._fields, *(f"new.{name}" for name in NewJob._fields), *Options._fields, *RetryPolicy._fields,
)  # fmt: skip
"""Names of the values of a new job: those of its row, its attributes, its options, its retry policy."""
_WRITES: Final = {
    **_WRITE, **{name: codec.write for name, codec in (*_OPTIONS.items(), *_RETRY.items())},
}  # fmt: skip


def _source(column: str) -> str:
    name = _SOURCES.get(column, column)
    return name if name in _VALUE_NAMES else f"new.{name}"


def _values_of(new: NewJob, at: NewRow) -> Row:
    """Return the values that `_VALUE_NAMES` names."""
    options = new.options
    return (*at, *new, *options, *options.retry)


def _row_of(columns: Sequence[str]) -> Callable[[Row], Row]:
    """Return a function that converts the values named by `_VALUE_NAMES` to those of these columns."""
    pick, conversions = _picker(map(_source, columns), _VALUE_NAMES), _conversions(columns, _WRITES)

    def row(values: Row) -> Row:
        picked = list(pick(values))
        for position, convert in conversions:
            picked[position] = convert(picked[position])
        return tuple(picked)

    return row


_common_row: Final = _row_of(COMMON)
_rare_row: Final = _row_of(_RARE)


def _reads(codecs: Mapping[str, _Codec]) -> Sequence[tuple[int, Convert, Any]]:
    """Return position, converter and NULL value of the columns that are converted."""
    return [(position, c.read, c.absent) for position, c in enumerate(codecs.values()) if c.read is not None]


_RETRY_READS: Final = _reads(_RETRY)
_OPTION_READS: Final = _reads(_OPTIONS)


@lru_cache(maxsize=1024)
def read_retry(*columns: Any) -> RetryPolicy:
    """Return the retry policy of these columns. Cached, as most jobs share a few."""
    values = list(columns)
    for position, read, absent in _RETRY_READS:
        values[position] = absent if values[position] is None else read(values[position])
    return RetryPolicy._make(values)


_make_options: Final = partial(tuple.__new__, Options)
"""Like `_make`, but without a check of the number of items."""
_KEPT: Final = 256
"""Size of the cache of options."""


def _options_from(values: Row) -> Options:
    """Return the options of these columns: those of `_OPTIONS`, then those of `_RETRY`."""
    options = list(values[:_OPTION_COUNT])
    for position, read, absent in _OPTION_READS:
        value = options[position]
        options[position] = absent if value is None else read(value)
    return _make_options((read_retry(*values[_OPTION_COUNT:]), *options))


_OPTION_COUNT: Final = len(_OPTIONS)
_OWN: Final = ("name", "labels", "env", "stdin", "unique_key", "key")
"""Options that often belong to one job, or are large. Jobs without them mostly share all other options."""
_pick_own: Final = _picker(_OWN, tuple(_OPTIONS))
_NOTHING: Final = (None,) * len(_OWN)
_known_options: Final = lru_cache(maxsize=_KEPT)(_options_from)


def _options_of(columns: Sequence[str]) -> Callable[[Row], Options]:
    """Return a function that reads the options from a row of these columns."""
    pick = _picker((*_OPTIONS, *_RETRY), columns)

    def read(row: Row) -> Options:
        values = pick(row)
        return _known_options(values) if _pick_own(values) == _NOTHING else _options_from(values)

    return read


read_options: Final = _options_of(OPTION_COLUMNS)
"""Return the options from a row of OPTION_COLUMNS."""
_ROW: Final = (*_COLUMNS, "queue_name", "batch_name")
"""Columns of the rows that `read_job` reads."""
_options_in_row: Final = _options_of(_ROW)
_CONVERTED: Final = ("command", "argv", "state", "lane", "paused", "reason_code", "depends_on", "granted")
_pick_converted: Final = _picker(_CONVERTED, _ROW)
_pick_plain: Final = _picker(
    ({"queue": "queue_name", "batch": "batch_name"}.get(name, name) for name in Job._fields[3:-5]), _ROW
)
"""The fields of a Job that are not converted; the converted ones come before and after them."""


_make_job: Final = partial(tuple.__new__, Job)


def read_job(row: Row) -> Job:
    """Return the job of a row: all columns in their order, then the names of its queue and batch."""
    command, argv, state, lane, paused, code, parents, granted = _pick_converted(row)
    return _make_job((
        rows.read_command(command, argv), _options_in_row(row), rows.STATES[state], *_pick_plain(row),
        lane is not None, bool(paused), rows.CODES[code],
        tuple([(parent, on) for parent, on in json.loads(parents)]) if parents else (), rows.read_granted(granted),
    ))  # fmt: skip


_USUAL: Final = _values_of(
    NewJob("", Options(RetryPolicy(0, 1, 0))),
    NewRow(0, "", JobState.PENDING, 0, 0, None, None, None, 0, None, None, (), 0),
)
RARE: Final[Mapping[str, Any]] = dict(zip(_RARE, _rare_row(_USUAL), strict=True))
"""Columns that are rarely set, with their usual values."""
_pick_rare: Final = _picker((_source(name) for name in _RARE if name != "argv"), _VALUE_NAMES)
_USUAL_RARE: Final = _pick_rare(_USUAL)


def ordinary_row(new: NewJob, at: NewRow) -> Row | None:
    """Return the common columns of a new job, in their order; None if a rare one is set."""
    values = _values_of(new, at)
    # Compared before they are converted, which takes longer.
    return _common_row(values) if isinstance(new.command, str) and _pick_rare(values) == _USUAL_RARE else None


def job_values(new: NewJob, at: NewRow) -> dict[str, Any]:
    """Return all columns of a new job except INITIAL, by name."""
    values = _values_of(new, at)
    return dict(zip((*COMMON, *_RARE), _common_row(values) + _rare_row(values), strict=True))


def read_new_job(new: NewJob, at: NewRow) -> Job:
    """Return a job that was just stored, as `read_job` would return it."""
    reason, reason_code = rows.stored_reason(at.reason)
    return Job(
        seq=at.seq, id=at.id, command=new.command, options=new.options, state=at.state, queue=new.queue,
        priority=new.priority, rank=at.seq, attempts=0, run=0, runs=0, crashes=0, created_ms=at.created_ms,
        updated_ms=at.created_ms, run_at_ms=at.run_at_ms, due_ms=at.due_ms, ready=at.lane is not None,
        finished_ms=at.finished_ms, reason=reason, reason_code=rows.CODES[reason_code],
        depends_on=at.depends_on, batch=new.batch,
    )  # fmt: skip
