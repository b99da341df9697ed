"""Conversions between stored values or rows of small tables and values of the domain. Executes nothing."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgpack

from queuectl_client.protocol.vocabulary import EventKind, JobState, ReasonCode
from queuectld.domain.job import Attempt, Command, Output
from queuectld.domain.reason import Reason
from queuectld.domain.resources import Granted
from queuectld.store.records import Event

Row = tuple[Any, ...]
STATES: Final = {state.value: state for state in JobState}
KINDS: Final = {kind.value: kind for kind in EventKind}
CODES: Final[Mapping[str | None, ReasonCode | None]] = {None: None, **{code.value: code for code in ReasonCode}}


def stored_text(text: str) -> str | bytes:
    """Convert text for storage: unchanged, or its bytes if they are not UTF-8."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape")
    return text


def read_text(stored: str | bytes) -> str:
    """Inverse of `stored_text`."""
    return stored if isinstance(stored, str) else stored.decode("utf-8", "surrogateescape")


def plain(text: str | None) -> str | None:
    """Return text with undecodable bytes written as escapes, so that it is valid UTF-8."""
    if text is None or text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode()


def stored_reason(reason: Reason | None) -> tuple[str | None, str | None]:
    """Return the values of the columns `reason` and `reason_code`: both or neither."""
    return (None, None) if reason is None else (plain(reason.text), reason.code.value)


def pack(value: Any) -> bytes:
    """Encode as MessagePack for the store only; text that is not UTF-8 keeps its bytes."""
    packed: bytes = msgpack.packb(value, unicode_errors="surrogateescape")
    return packed


def unpack(packed: bytes | None) -> Any:
    """Inverse of `pack`, with lists as lists; None for NULL."""
    return None if packed is None else msgpack.unpackb(packed, unicode_errors="surrogateescape", strict_map_key=False)


def pack_json(value: Any) -> str | None:
    """Encode as JSON for values that SQL queries; NULL if empty."""
    if not value:
        return None
    plain_value = dict(value) if isinstance(value, Mapping) else value
    return json.dumps(plain_value, ensure_ascii=False, separators=(",", ":"))


def read_shown(keys: Sequence[str], row: Row) -> Row:
    """Decode the values of single keys selected by `filtering.shown_columns`."""
    return tuple([_SHOWN[key](value) if key in _SHOWN else value for key, value in zip(keys, row, strict=True)])


_SHOWN: Final[Mapping[str, Callable[[Any], Any]]] = {
    "command": lambda value: value if isinstance(value, str) else unpack(value),
    "cwd": read_text,
}


def read_needs(stored: str | None) -> dict[str, int]:
    """Return amounts of resources by name."""
    return json.loads(stored) if stored else {}


def stored_granted(granted: Granted) -> str | None:
    """Encode the numbered resources of a run; NULL for none."""
    return json.dumps(granted) if granted else None


def read_granted(stored: str | None) -> dict[str, tuple[int, ...]]:
    """Inverse of `stored_granted`."""
    return {name: tuple(numbers) for name, numbers in json.loads(stored).items()} if stored else {}


def read_command(command: str | bytes | None, argv: bytes | None) -> Command:
    """Return the shell command, or the argv of a job without one."""
    return tuple(unpack(argv)) if command is None else read_text(command)


def output_blob(output: Mapping[str, Output]) -> bytes | None:
    """Pack the locations of an attempt's output; NULL if there was none."""
    if not output:
        return None
    return pack({stream: [size, inline, files] for stream, (size, inline, files) in output.items()})


def read_output(packed: bytes | None) -> dict[str, Output]:
    """Inverse of `output_blob`."""
    return {
        stream: Output(size, inline, tuple((path, offset, length) for path, offset, length in files))
        for stream, (size, inline, files) in (unpack(packed) or {}).items()
    }


def read_attempt(row: Row) -> Attempt:
    """Decode the row of an attempt, with all columns in order."""
    values = (*row[:11], CODES[row[18]], bool(row[11]), *row[12:16], _optional_text(row[16]), read_output(row[17]))
    return Attempt(*values)


def _optional_text(stored: str | bytes | None) -> str | None:
    return None if stored is None else read_text(stored)


def event_rows(events: Iterable[Event]) -> Iterator[Row]:
    """Yield the rows of events, in column order. Equal details of successive events are packed once."""
    detail: Mapping[str, Any] = {}
    packed = None
    for event in events:
        if event.detail != detail:
            detail = event.detail
            packed = pack(detail) if detail else None
        yield (*event[:2], event.kind._value_, *event[3:8], packed)


def read_event(row: Row) -> Event:
    """Decode the row of an event."""
    values = (*row[:2], KINDS[row[2]], *row[3:8], unpack(row[8]) or {})
    return Event._make(values)
