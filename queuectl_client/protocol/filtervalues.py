"""Checks of the values in a filter: each returns the value to compare with."""

import math
import re
import signal as signals
from enum import StrEnum
from typing import Any, Final, NamedTuple

from queuectl_client.protocol import amounts
from queuectl_client.protocol.checks import BadParams, bad, moment
from queuectl_client.protocol.jobspec import signal_name
from queuectl_client.protocol.spelling import hint
from queuectl_client.protocol.vocabulary import JobState, ReasonCode

_UNITS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_WITH_UNITS: Final = re.compile(r"(?:\d{1,15}(?:\.\d{1,9})?(?:ms|[smhdw]))+", re.IGNORECASE | re.ASCII)
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])", re.IGNORECASE | re.ASCII)
_FLAGS: Final = {"true": True, "yes": True, "false": False, "no": False}
_MOST: Final = 2.0**62


class Ago(NamedTuple):
    """A time relative to now: seconds in the past; negative: in the future."""

    seconds: float


def number(key: str, given: Any) -> float:
    """Check a number."""
    try:
        found = float(given)
    except ValueError:
        raise bad(key, given, "a number") from None
    if not math.isfinite(found) or abs(found) > _MOST:
        raise bad(key, given, "a number")
    return int(given) if re.fullmatch(r"[+-]?\d+", given, re.ASCII) else found


def duration(key: str, given: Any) -> float:
    """Check a duration such as `90`, `1.5`, `10s`, `1h30m`; return it in seconds."""
    found = _seconds(given)
    if found is not None:
        return found
    try:
        return number(key, given)
    except BadParams:
        raise bad(key, given, "seconds (90) or units (90s, 10m, 2h, 7d)") from None


def time(key: str, given: Any) -> int | Ago:
    """Check a time: ISO 8601 (returned as Unix time in milliseconds), or relative: `now`, `2h` ago, `+2h` ahead."""
    if given.lower() == "now":
        return Ago(0)
    ago = _seconds(given.removeprefix("+"))
    if ago is not None:
        return Ago(-ago if given.startswith("+") else ago)
    try:
        return moment(key, given)
    except BadParams:
        raise bad(key, given, "ISO 8601 ('2026-11-24 14:00'), now, an age (2h), or a time ahead (+2h)") from None


def state(key: str, given: Any) -> str:
    """Check the name of a state."""
    return _word_of(JobState, key, given)


def reason(key: str, given: Any) -> str:
    """Check the code of a reason."""
    return _word_of(ReasonCode, key, given)


def _word_of(words: type[StrEnum], key: str, given: Any) -> str:
    if given.lower() in {*words}:
        return str(given.lower())
    raise BadParams(bad(key, given, f"one of {', '.join(words)}").message + hint(given.lower(), words))


def signal(key: str, given: Any) -> int:
    """Check a signal, such as `KILL`, `SIGKILL` or 9; return its number."""
    name = signal_name(given)
    if name is not None and name in signals.Signals.__members__:
        return int(signals.Signals[name])
    if re.fullmatch(r"[1-9]\d?", given, re.ASCII):
        return int(given)
    raise bad(key, given, "a signal's name such as TERM or SIGKILL, or its number")


def worker(key: str, given: Any) -> int:
    """Check a worker such as `w12`; return its number."""
    found = re.fullmatch(r"w?(\d{1,15})", given, re.ASCII | re.IGNORECASE)
    if found:
        return int(found[1])
    raise bad(key, given, "a worker such as w3")


def flag(key: str, given: Any) -> bool:
    """Check a Boolean."""
    if given.lower() in _FLAGS:
        return _FLAGS[given.lower()]
    raise bad(key, given, "true or false")


def amount(key: str, given: Any) -> int:
    """Check an amount of a resource, such as `2` or `4G`."""
    if given == "0":
        return 0
    try:
        return amounts.amount(given)
    except ValueError:
        raise bad(key, given, amounts.AMOUNT_WORDS) from None


def _seconds(given: str) -> float | None:
    """Return the seconds of a duration with units, or None."""
    if not _WITH_UNITS.fullmatch(given):
        return None
    found = sum(float(count) * _UNITS[unit.lower()] for count, unit in _PART.findall(given))
    return found if found < 10**13 else None
