"""Checks of single values from the wire: each returns the normalized value or raises BadParams.

A check takes the key and the value; its error names the key, the value and what is allowed. `jobspec` and `messages`
assign checks to keys.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, TypeVar

from queuectl_client.protocol import durations
from queuectl_client.protocol.spelling import hint
from queuectl_client.protocol.text import from_wire, is_plain

T = TypeVar("T")
Check = Callable[[str, Any], T]

MAX_SELECTOR: Final = 1024
"""Maximum length of a selector in characters."""
_ID = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)
_RESERVED_IDS: Final = frozenset({"all", "last"})
_SHOWN = 60


class BadParams(ValueError):
    """A parameter is missing, unknown or out of range. `key`: its name; `data`: details for programs."""

    def __init__(self, message: str, key: str | None = None, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.key = key
        self.data = dict(data) if data else ({"key": key} if key is not None else {})


def bad(key: str, value: Any, allowed: str) -> BadParams:
    """Return the error for an invalid value."""
    return BadParams(f"invalid {key}: {shown(value)}; expected {allowed}", key)


def unknown(
    what: str, word: object, known: Iterable[str], *, meanings: Mapping[str, str] | None = None
) -> BadParams:
    """Return the error for an unknown word, which suggests what it means (see `hint`) or the nearest known one."""
    near = hint(str(word), known, meanings=meanings)
    return BadParams(f"unknown {what} {shown(word)}{near}", word if isinstance(word, str) else None)


def shown(value: Any) -> str:
    """Return the value for an error message: short, on one line, without the content of a list or map."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case list() | tuple():
            return f"a list of {len(value)}" if value else "an empty list"
        case dict():
            return f"a map of {len(value)}" if value else "an empty map"
        case bytes():
            return f"{len(value)} bytes that are not text"
    text = repr(str(value)) if isinstance(value, str) else str(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def boolean(key: str, value: Any) -> bool:
    """Check a Boolean; numbers are not accepted."""
    if value is True or value is False:
        return bool(value)
    raise bad(key, value, "true or false")


def integer(low: int, high: int) -> Check[int]:
    """Return a check for a whole number in the range, both ends included."""

    def check(key: str, value: Any) -> int:
        if type(value) is int and low <= value <= high:
            return value
        raise bad(key, value, f"a whole number from {low:,} to {high:,}")

    return check


def number(low: float, high: float, unit: str = "", *, above: bool = False) -> Check[float]:
    """Return a check for a number in the range, both ends included; `above`: the lower end is excluded."""
    bounds = f"above {low:g} and at most {high:,.10g}" if above else f"from {low:g} to {high:,.10g}"

    def check(key: str, value: Any) -> float:
        # NaN is in no range, and bool is neither type.
        if type(value) in (int, float) and low <= value <= high and not (above and value == low):
            return value  # type: ignore[no-any-return]
        raise bad(key, value, f"a number{unit} {bounds}")

    return check


def seconds(*, zero: bool = False) -> Check[float]:
    """Return a check for a duration, at most ten years: a number of seconds, or text such as `90s` and `1h30m`."""
    bounds = "from 0 to" if zero else "above 0 and at most"
    words = f"a number of seconds {bounds} {durations.TEN_YEARS_S:,}, or a duration {durations.DURATION_WORDS}"

    def check(key: str, value: Any) -> float:
        found: Any = durations.with_units(value) if isinstance(value, str) else value
        if type(found) in (int, float) and 0 <= found <= durations.TEN_YEARS_S and (zero or found > 0):
            return found  # type: ignore[no-any-return]
        raise bad(key, value, words)

    return check


def os_text(key: str, value: Any) -> str:
    """Check text without NUL, possibly invalid UTF-8 (bin on the wire): commands, folders, environments."""
    if isinstance(value, bytes):
        value = from_wire(value)
    if isinstance(value, str) and "\0" not in value:
        return value
    if isinstance(value, str):
        raise BadParams(f"{key} contains a NUL character, which no command, folder or variable can have", key)
    raise bad(key, value, "a string")


def text(longest: int, *, empty: bool = False) -> Check[str]:
    """Return a check for UTF-8 text without NUL, at most `longest` characters."""
    words = f"a string of {0 if empty else 1} to {longest:,} characters"

    def check(key: str, value: Any) -> str:
        if not isinstance(value, str) or len(value) > longest or not (value or empty):
            raise bad(key, value, words)
        if "\0" in value or not is_plain(value):
            raise bad(key, value, "UTF-8 text without NUL")
        return value

    return check


def some_bytes(longest: int) -> Check[bytes]:
    """Return a check for bytes, or text to encode as UTF-8, at most `longest` bytes. Errors never show them."""

    def check(key: str, value: Any) -> bytes:
        if isinstance(value, str):
            value = value.encode("utf-8", "surrogateescape")
        if not isinstance(value, bytes):
            raise BadParams(f"invalid {key}; expected bytes or a string", key)
        if len(value) > longest:
            raise BadParams(f"{key} has {len(value):,} bytes; at most {longest:,} are allowed", key)
        return value

    return check


def job_id(key: str, value: Any) -> str:
    """Check the id of a new job."""
    if isinstance(value, str) and _ID.fullmatch(value) and value not in _RESERVED_IDS:
        return value
    raise bad(key, value, "1 to 128 of A-Z, a-z, 0-9, dot, underscore and minus, and neither 'all' nor 'last'")


def queue_name(key: str, value: Any) -> str:
    """Check the name of a queue: 1 to 128 printable characters without white space."""
    if isinstance(value, str) and 0 < len(value) <= 128 and value.isprintable() and not any(map(str.isspace, value)):
        return value
    raise bad(key, value, "1 to 128 printable characters without white space")


def request_id(key: str, value: Any) -> str:
    """Check a request id, which makes repeating a write safe."""
    if isinstance(value, str) and _UUID.fullmatch(value.lower()):
        return value.lower()
    raise bad(key, value, "a UUID, such as '2f1c9a52-7f6e-4c0b-9d35-0a3f5d9a7c11'")


def word_of(words: type[StrEnum] | Iterable[str]) -> Check[str]:
    """Return a check for one of these words."""
    allowed = {str(word): word for word in words}

    def check(key: str, value: Any) -> str:
        if isinstance(value, str) and value in allowed:
            return allowed[value]
        raise bad(key, value, f"one of {', '.join(allowed)}")

    return check


def selector(key: str, value: Any) -> str:
    """Check a reference to jobs: an id, a seq, or a selector such as `last`, `3-9`, `label:k=v`, `@failed`."""
    if type(value) is int and value > 0:
        return str(value)
    if isinstance(value, str) and 0 < len(value) <= MAX_SELECTOR and "\0" not in value and is_plain(value):
        return value
    raise bad(key, value, "an id, a seq, or a selector such as 'last', '3-9' or 'label:k=v'")


def selectors(key: str, value: Any) -> tuple[str, ...]:
    """Check one selector, or a non-empty list of them."""
    if not isinstance(value, list | tuple):
        return (selector(key, value),)
    if not value:
        raise bad(key, value, "a list of at least one id")
    if set(map(type, value)) == {str}:
        # 100,000 ids are checked together; if one is invalid, each by itself, to name it.
        lengths = {len(item) for item in value}
        together = "".join(value)
        if min(lengths) > 0 and max(lengths) <= MAX_SELECTOR and "\0" not in together and is_plain(together):
            return tuple(value)
    return tuple([selector(key, item) for item in value])


def list_of(check: Check[T], *, longest: int, single: bool = False) -> Check[tuple[T, ...]]:
    """Return a check for a list; `single`: a single value is accepted as a list of one."""

    def check_all(key: str, value: Any) -> tuple[T, ...]:
        if isinstance(value, list | tuple):
            if len(value) > longest:
                raise BadParams(f"{key} has {len(value):,} items; at most {longest:,} are allowed", key)
            return tuple([check(key, item) for item in value])
        if single:
            return (check(key, value),)
        raise bad(key, value, "a list")

    return check_all


def map_of(check_key: Check[str], check: Check[T], *, longest: int) -> Check[dict[str, T]]:
    """Return a check for a map of names to values; names with the value null are left out."""

    def check_all(key: str, value: Any) -> dict[str, T]:
        if not isinstance(value, Mapping):
            raise bad(key, value, "a map")
        if len(value) > longest:
            raise BadParams(f"{key} has {len(value):,} entries; at most {longest:,} are allowed", key)
        return {
            check_key(f"name in {key}", name): check(f"{key} {shown(name)}", item)
            for name, item in value.items()
            if item is not None
        }

    return check_all


def environment(key: str, value: Any) -> dict[str, str]:
    """Check a map of variables to texts. Errors never show values, which may be secrets."""
    if not isinstance(value, Mapping):
        raise BadParams(f"invalid {key}; expected a map of variable names to strings", key)
    if set(map(type, value)) == set(map(type, value.values())) == {str}:
        # All variables are checked together; if one is invalid, each by itself, to name it.
        names = "".join(value)
        if "" not in value and "=" not in names and "\0" not in names and "\0" not in "".join(value.values()):
            return dict(value)
    checked: dict[str, str] = {}
    for name, item in value.items():
        if isinstance(name, bytes):
            name = from_wire(name)
        if not isinstance(name, str) or not name or "=" in name or "\0" in name:
            allowed = "a non-empty string without '=' and NUL"
            if isinstance(name, str) and "=" in name:
                name = f"{name.partition('=')[0]}=…"  # the rest is not part of the name and may be a secret
            raise bad(f"name in {key}", name, allowed)
        if isinstance(item, bytes):
            item = from_wire(item)
        if item is None:
            # Null is ambiguous: unset the variable, leave it unchanged, or make it empty.
            message = f"invalid value of {shown(name)} in {key}: null; expected a string (to unset it, use env -u)"
            raise BadParams(message, key)
        if not isinstance(item, str) or "\0" in item:
            raise BadParams(f"invalid value of {shown(name)} in {key}; expected a string without NUL", key)
        checked[name] = item
    return checked


def moment(key: str, value: Any) -> int:
    """Return the Unix time in milliseconds of an ISO 8601 text; without an offset, in the local time zone."""
    if isinstance(value, str):
        try:
            return round(datetime.fromisoformat(value.strip()).astimezone(UTC).timestamp() * 1000)
        except (ValueError, OverflowError, OSError):
            pass  # reported below, in the common form
    raise bad(key, value, "a time in ISO 8601, such as '2026-11-24T03:08:02Z'")


def moment_or_unix(key: str, value: Any) -> int:
    """Like `moment`; a number is Unix time in seconds."""
    if type(value) in (int, float) and 0 <= value <= 253_402_300_799:  # up to the year 9999
        return int(value * 1000)
    return moment(key, value)


def time_text(unix_ms: int) -> str:
    """Return the time in the wire format: ISO 8601 in UTC with milliseconds and Z."""
    moment_utc = datetime.fromtimestamp(unix_ms // 1000, UTC)
    # Not by strftime, which does not pad years before 1000.
    return f"{moment_utc.replace(tzinfo=None).isoformat()}.{unix_ms % 1000:03d}Z"
