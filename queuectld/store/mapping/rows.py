"""Between rows and what the domain calls them. Knows the order of the columns; executes nothing."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgpack

from queuectl_client.protocol.vocabulary import EventKind, JobState, ReasonCode
from queuectld.domain.job import Attempt, Command, Job, NewJob, Output
from queuectld.domain.reason import Reason
from queuectld.domain.resources import Granted
from queuectld.domain.retry import RetryPolicy
from queuectld.store.records import Event

Row = tuple[Any, ...]
STATES: Final = {state.value: state for state in JobState}
KINDS: Final = {kind.value: kind for kind in EventKind}
CODES: Final[Mapping[str | None, ReasonCode | None]] = {None: None, **{code.value: code for code in ReasonCode}}


def stored_text(text: str) -> str | bytes:
    """Text as it is stored: itself, or its bytes where they are not UTF-8."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape")
    return text


def read_text(stored: str | bytes) -> str:
    """What `stored_text` was given."""
    return stored if isinstance(stored, str) else stored.decode("utf-8", "surrogateescape")


def plain(text: str | None) -> str | None:
    """Words for people, which are always UTF-8: a byte that is not is written out as an escape."""
    if text is None or text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode()


def stored_reason(reason: Reason | None) -> tuple[str | None, str | None]:
    """A reason as the columns `reason` and `reason_code` have it: both or neither."""
    return (None, None) if reason is None else (plain(reason.text), reason.code.value)


def pack(value: Any) -> bytes:
    """MessagePack for the store's own eyes; text that is not UTF-8 keeps its bytes."""
    packed: bytes = msgpack.packb(value, unicode_errors="surrogateescape")
    return packed


def unpack(packed: bytes | None) -> Any:
    """What `pack` was given, lists as lists; None for NULL."""
    return None if packed is None else msgpack.unpackb(packed, unicode_errors="surrogateescape", strict_map_key=False)


def _json(value: Any) -> str | None:
    if not value:
        return None
    plain_value = dict(value) if isinstance(value, Mapping) else value
    return json.dumps(plain_value, ensure_ascii=False, separators=(",", ":"))


class Place(NamedTuple):
    """Where a new job comes to stand."""

    seq: int
    id: str
    state: JobState
    queue: int
    lane: int | None
    batch: int | None
    due_ms: int | None
    run_at_ms: int | None
    created_ms: int
    finished_ms: int | None
    reason: Reason | None
    depends_on: tuple[tuple[str, str], ...]
    environment: int
    in_line: bool = False
    bundle: int | None = None


COMMON: Final = (
    "seq", "id", "state", "queue", "priority", "rank", "lane", "batch", "created_ms", "updated_ms", "max_retries",
    "backoff_base", "backoff_max", "backoff_jitter", "timeout_ms", "kill_grace_ms", "umask", "environment", "cwd",
    "command",
)  # fmt: skip
"""Columns that are given for every new job."""
RARE: Final[Mapping[str, Any]] = {
    "in_line": 0, "due_ms": None, "run_at_ms": None, "finished_ms": None, "reason": None, "retry_on": None,
    "no_retry_on": None, "stall_timeout_ms": None, "once": 0, "split_output": 0, "stdin_open": 0,
    "bundle": None, "unique_key": None, "on_conflict": "error", "key": None, "key_limit": 1, "slots": 1,
    "needs": None, "name": None, "labels": None, "depends_on": None, "argv": None, "env": None, "stdin": None,
    "reason_code": None,
}  # fmt: skip
"""Columns that most new jobs have as here. Binding all of them takes longer than the insert itself."""
FRESH: Final[Mapping[str, Any]] = {
    "attempts": 0, "run": 0, "runs": 0, "crashes": 0, "worker": None, "ending": None, "paused": 0,
    "started_ms": None, "exit_code": None, "signal": None, "granted": None,
}  # fmt: skip
"""The other columns, as a job has them before it has run."""

ORDINARY: Final = tuple(RARE.values())


def common_row(new: NewJob, at: Place) -> Row:
    """The common columns of a new job, in their order."""
    retry = new.retry
    return (
        at.seq, at.id, at.state._value_, at.queue, new.priority, at.seq, at.lane, at.batch, at.created_ms,
        at.created_ms, retry.max_retries, retry.backoff_base, retry.backoff_max, retry.backoff_jitter,
        new.timeout_ms, new.kill_grace_ms, new.umask, at.environment, stored_text(new.cwd),
        stored_text(new.command) if isinstance(new.command, str) else None,
    )  # fmt: skip


def rare_row(new: NewJob, at: Place) -> Row:
    """The rare columns of a new job, in their order; `ORDINARY` for most."""
    retry = new.retry
    reason, reason_code = stored_reason(at.reason)
    return (
        int(at.in_line), at.due_ms, at.run_at_ms, at.finished_ms, reason, _json(retry.retry_on),
        _json(retry.no_retry_on), new.stall_timeout_ms, int(new.once), int(new.split_output), int(new.stdin_open),
        at.bundle, new.unique_key, new.on_conflict, new.key, new.key_limit, new.slots, _json(new.needs), new.name,
        _json(new.labels), _json(at.depends_on),
        None if isinstance(new.command, str) else pack(list(new.command)),
        pack(dict(new.env)) if new.env else None,
        None if new.stdin is None else stored_text(new.stdin),
        reason_code,
    )  # fmt: skip


def job_values(new: NewJob, at: Place) -> dict[str, Any]:
    """All columns that a new job is given, by name."""
    return dict(zip((*COMMON, *RARE), common_row(new, at) + rare_row(new, at), strict=True))


def read_job(row: Row) -> Job:
    """The job of a row: all columns in their order, then the names of its queue and of its batch."""
    (
        seq, id_, state, _queue, priority, rank, lane, _in_line, _batch, due_ms, run_at_ms,
        attempts, run, runs, crashes, worker, _ending, paused, created_ms, updated_ms, started_ms, finished_ms,
        exit_code, signal, reason, granted, max_retries, backoff_base, backoff_max, backoff_jitter, retry_on,
        no_retry_on, timeout_ms, stall_timeout_ms, kill_grace_ms, umask, once, split_output, stdin_open, _bundle,
        unique_key, on_conflict, key, key_limit, slots, needs, name, labels, depends_on, _environment, cwd, command,
        argv, env, stdin, reason_code,
        queue_name, batch_name,
    ) = row  # fmt: skip
    # In the order of the fields: a page has a thousand jobs, and names take ten times as long.
    return Job._make((
        seq, id_, read_command(command, argv), STATES[state], queue_name, priority, rank, attempts, run, runs, crashes,
        read_retry(max_retries, backoff_base, backoff_max, backoff_jitter, retry_on, no_retry_on),
        created_ms, updated_ms, run_at_ms, due_ms, lane is not None, started_ms, finished_ms, exit_code, signal,
        reason, CODES[reason_code], worker, bool(paused), name, json.loads(labels) if labels else {},
        read_text(cwd), umask, unpack(env) or {}, None if stdin is None else read_text(stdin),
        timeout_ms, stall_timeout_ms, kill_grace_ms,
        tuple((parent, on) for parent, on in json.loads(depends_on)) if depends_on else (),
        batch_name, unique_key, on_conflict, key, key_limit, slots, read_needs(needs), read_granted(granted),
        bool(once), bool(split_output), bool(stdin_open),
    ))  # fmt: skip


def read_shown(keys: Sequence[str], row: Row) -> Row:
    """The values of single keys, as `columns` and `filtering.shown_columns` have them in a row."""
    return tuple([_SHOWN[key](value) if key in _SHOWN else value for key, value in zip(keys, row, strict=True)])


_SHOWN: Final[Mapping[str, Callable[[Any], Any]]] = {
    "command": lambda value: value if isinstance(value, str) else unpack(value),
    "cwd": read_text,
}


def read_new_job(new: NewJob, at: Place) -> Job:
    """The job that a new one is when it has just been stored: as `read_job` would read it."""
    reason, reason_code = stored_reason(at.reason)
    return Job(
        seq=at.seq, id=at.id, command=new.command, state=at.state, queue=new.queue, priority=new.priority,
        rank=at.seq, attempts=0, run=0, runs=0, crashes=0, retry=new.retry, created_ms=at.created_ms,
        updated_ms=at.created_ms, run_at_ms=at.run_at_ms, due_ms=at.due_ms, ready=at.lane is not None,
        finished_ms=at.finished_ms, reason=reason, reason_code=CODES[reason_code], name=new.name,
        labels=dict(new.labels), cwd=new.cwd, umask=new.umask, env=dict(new.env), stdin=new.stdin,
        timeout_ms=new.timeout_ms, stall_timeout_ms=new.stall_timeout_ms, kill_grace_ms=new.kill_grace_ms,
        depends_on=at.depends_on, batch=new.batch, unique_key=new.unique_key, on_conflict=new.on_conflict, key=new.key,
        key_limit=new.key_limit, slots=new.slots, needs=dict(new.needs), once=new.once,
        split_output=new.split_output, stdin_open=new.stdin_open,
    )  # fmt: skip


def read_needs(stored: str | None) -> dict[str, int]:
    """Amounts of resources by their names."""
    return json.loads(stored) if stored else {}


def stored_granted(granted: Granted) -> str | None:
    """The numbered resources of a run as they are stored; NULL for none."""
    return json.dumps(granted) if granted else None


def read_granted(stored: str | None) -> dict[str, tuple[int, ...]]:
    """What `stored_granted` was given."""
    return {name: tuple(numbers) for name, numbers in json.loads(stored).items()} if stored else {}


def read_command(command: str | bytes | None, argv: bytes | None) -> Command:
    """The shell command, or the argv of a job that has none."""
    return tuple(unpack(argv)) if command is None else read_text(command)


@lru_cache(maxsize=1024)
def read_retry(
    max_retries: int, base: float, maximum: float, jitter: float, retry_on: str | None, no_retry_on: str | None
) -> RetryPolicy:
    """The retry policy in these columns. Most jobs share a few."""
    return RetryPolicy(max_retries, base, maximum, jitter, _listed(retry_on), _listed(no_retry_on))


def _listed(stored: str | None) -> tuple[int | str, ...]:
    return tuple(json.loads(stored)) if stored else ()


def output_blob(output: Mapping[str, Output]) -> bytes | None:
    """Where the output of an attempt is, packed; NULL when there was none."""
    if not output:
        return None
    return pack({stream: [size, inline, files] for stream, (size, inline, files) in output.items()})


def read_output(packed: bytes | None) -> dict[str, Output]:
    """What `output_blob` was given."""
    return {
        stream: Output(size, inline, tuple((path, offset, length) for path, offset, length in files))
        for stream, (size, inline, files) in (unpack(packed) or {}).items()
    }


def read_attempt(row: Row) -> Attempt:
    """The attempt of a row, with all columns in their order."""
    values = (*row[:11], CODES[row[18]], bool(row[11]), *row[12:16], _optional_text(row[16]), read_output(row[17]))
    return Attempt(*values)


def _optional_text(stored: str | bytes | None) -> str | None:
    return None if stored is None else read_text(stored)


def event_rows(events: Iterable[Event]) -> Iterator[Row]:
    """The rows of events, in the order of the columns. Those of many jobs mostly tell the same of each."""
    detail: Mapping[str, Any] = {}
    packed = None
    for event in events:
        if event.detail != detail:
            detail = event.detail
            packed = pack(detail) if detail else None
        yield (*event[:2], event.kind._value_, *event[3:8], packed)


def read_event(row: Row) -> Event:
    """The event of a row."""
    values = (*row[:2], KINDS[row[2]], *row[3:8], unpack(row[8]) or {})
    return Event._make(values)
