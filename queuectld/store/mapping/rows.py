"""Between single values, or rows of small tables, and what the domain calls them. Executes nothing."""

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


def pack_json(value: Any) -> str | None:
    """JSON for what SQL looks into; NULL for what is empty."""
    if not value:
        return None
    plain_value = dict(value) if isinstance(value, Mapping) else value
    return json.dumps(plain_value, ensure_ascii=False, separators=(",", ":"))


def read_shown(keys: Sequence[str], row: Row) -> Row:
    """The values of single keys, as `columns` and `filtering.shown_columns` have them in a row."""
    return tuple([_SHOWN[key](value) if key in _SHOWN else value for key, value in zip(keys, row, strict=True)])


_SHOWN: Final[Mapping[str, Callable[[Any], Any]]] = {
    "command": lambda value: value if isinstance(value, str) else unpack(value),
    "cwd": read_text,
}


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
