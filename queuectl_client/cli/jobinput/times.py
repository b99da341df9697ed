"""Parse times in the local zone: ISO 8601, `+10m`, `18:00`, `tomorrow 09:00`, `mon 9am`.

A time that a clock change skips (such as 02:30 on the last Sunday of March) becomes one hour later; of an hour that
occurs twice, the first is used.
"""

import re
from datetime import UTC, datetime, time, timedelta
from typing import Final

from queuectl_client.protocol.durations import with_units

ALLOWED: Final = "ISO 8601 (2026-11-24T14:00), 18:00, 'tomorrow 09:00', 'mon 9am', or a time from now: +10m"
_DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_CLOCK: Final = re.compile(r"(\d{1,2})(?::(\d{2})(?::(\d{2}))?)?\s*(am|pm)?", re.IGNORECASE | re.ASCII)


def moment(text: str, now: datetime) -> datetime:
    """Return the time in UTC. `now` is aware. Raise ValueError with a message for the user."""
    text = " ".join(text.split())
    if text.lower() == "now":
        return now.astimezone(UTC)
    if text.startswith("+"):
        ahead = with_units(text[1:])
        if ahead is None:
            raise ValueError(f"{text!r} is not a valid time; expected a duration after +, such as 10m or 1h30m")
        return now.astimezone(UTC) + timedelta(seconds=ahead)
    # Naive local time from here on.
    here = now.astimezone().replace(tzinfo=None)
    clock = _clock(text)
    if clock is not None:
        day = here.date() if clock > here.time() else here.date() + timedelta(days=1)
        return _utc(datetime.combine(day, clock))
    day_word, _, rest = text.lower().partition(" ")
    days = _days_ahead(day_word, here)
    if days is not None:
        return _utc(_on_day(text, here, days, _clock(rest.removeprefix("at ")), weekly=day_word != "tomorrow"))
    try:
        return _utc(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is not a valid time; expected {ALLOWED}") from None


def wire_text(at: datetime) -> str:
    """Return the time in the wire format."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def _on_day(text: str, here: datetime, days: int, clock: time | None, *, weekly: bool) -> datetime:
    if clock is None:
        raise ValueError(f"{text!r} needs a time of day, such as '{text.split(' ')[0]} 09:00'")
    at = datetime.combine(here.date() + timedelta(days=days), clock)
    if at > here or not weekly:
        return at
    if text.lower().startswith("today"):
        raise ValueError(f"{text!r} is in the past; it is now {here:%H:%M}")
    return at + timedelta(days=7)


def _clock(text: str) -> time | None:
    """Return the time of day of `18:00`, `9am`, `9:30 pm`; None for any other text, such as a bare number."""
    found = _CLOCK.fullmatch(text)
    if found is None or (found[2] is None and found[4] is None):
        return None
    hour = int(found[1])
    if found[4] is not None:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if found[4].lower() == "pm" else 0)
    try:
        return time(hour, int(found[2] or 0), int(found[3] or 0))
    except ValueError:
        return None


def _days_ahead(word: str, here: datetime) -> int | None:
    if word in ("today", "tomorrow"):
        return int(word == "tomorrow")
    for number, day in enumerate(_DAYS):
        if len(word) >= 3 and day.startswith(word):
            return (number - here.weekday()) % 7
    return None


def _utc(at: datetime) -> datetime:
    found = at.astimezone(UTC)
    if at.tzinfo is None and found.astimezone().replace(tzinfo=None) != at.replace(fold=0):
        # Skipped by a clock change: of both interpretations, use the later.
        return max(found, at.replace(fold=1).astimezone(UTC))
    return found
