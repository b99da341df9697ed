"""Parse durations: `90`, `1.5`, `10s`, `5m`, `2h`, `7d`, `1h30m`.

A number is seconds. In JSON a text needs units, so that a number in quotes is an error.
"""

import re
from typing import Final

TEN_YEARS_S: Final = 10 * 365 * 86_400
"""The longest duration: longer ones are typing errors, and sums of times cannot overflow."""
DURATION_WORDS: Final = "such as 90s, 10m, 1h30m or 7d"
_UNITS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])", re.IGNORECASE | re.ASCII)
_WITH_UNITS: Final = re.compile(rf"(?:{_PART.pattern}\s*)+", re.IGNORECASE | re.ASCII)
_LONGEST: Final = 100
"""Maximum length of a duration in characters."""


def seconds(text: str) -> float | None:
    """Return the duration in seconds; None if the text is not a duration. The range is not checked."""
    text = text.strip()
    if len(text) > _LONGEST:
        return None
    if _NUMBER.fullmatch(text):
        number = float(text)
        return int(number) if number.is_integer() and abs(number) < 2**53 else number
    return with_units(text)


def with_units(text: str) -> float | None:
    """Like `seconds`, but every number needs a unit."""
    text = text.strip()
    if len(text) > _LONGEST or not _WITH_UNITS.fullmatch(text):
        return None
    total: float = sum(float(number) * float(_UNITS[unit.lower()]) for number, unit in _PART.findall(text))
    return int(total) if total.is_integer() else round(total, 6)


def lacks_unit(text: str) -> str | None:
    """Return why an age of what is deleted is unclear: a number other than 0 without a unit. None: it is not.

    A bare number may be meant as days; taken as seconds it would delete nearly everything.
    """
    text = text.strip()
    if not seconds(text) or with_units(text) is not None:
        return None
    return f"it has no unit; did you mean {text}d (days) or {text}s (seconds)?"
