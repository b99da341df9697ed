"""Types of options: durations with units, pairs, times."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import click

from queuectl_client.protocol.durations import lacks_unit, seconds, with_units

_DURATIONS: Final = "seconds (90) or units (90s, 10m, 1h30m, 7d)"
_PAST_TIMES: Final = "ISO 8601 (2026-11-24T14:00) or an age (2h, 7d)"


class Whole(click.ParamType[float]):
    """A whole number. One beyond 64 bits is sent as a float, so that the daemon reports what is allowed."""

    name = "integer"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number."""
        try:
            number = int(value)
        except ValueError:
            self.fail(f"{value!r} is not a whole number", param, ctx)
        if abs(number) < 2**63:
            return number
        return float(max(-(10**300), min(number, 10**300)))


WHOLE: Final = Whole()


class Duration(click.ParamType[float]):
    """A duration: seconds, or numbers with units."""

    name = "duration"  # shown in the help, in capitals

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the duration in seconds."""
        if isinstance(value, int | float):
            return value
        found = seconds(value)
        if found is None or found in (float("inf"), float("-inf")):
            self.fail(f"{value!r} is not a valid duration; expected {_DURATIONS}", param, ctx)
        return found


class Age(Duration):
    """A duration of what is deleted, so a number needs its unit; 0 needs none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the age in seconds."""
        unclear = lacks_unit(value) if isinstance(value, str) else None
        if unclear is not None:
            self.fail(f"{value!r} is not a valid duration: {unclear}", param, ctx)
        return super().convert(value, param, ctx)


class Pair(click.ParamType[tuple[str, str]]):
    """KEY=VALUE; the value may be empty and may hold more equals signs."""

    def __init__(self, form: str = "KEY=VALUE") -> None:
        self.name = form

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Return the key and the value."""
        if isinstance(value, tuple):
            return value
        key, equals, rest = value.partition("=")
        if not key or not equals:
            self.fail(f"{value!r} is not of the form {self.name}", param, ctx)
        return key, rest


class Moment(click.ParamType[str]):
    """A time in the past: ISO 8601, or an age (`2h`, `7d`)."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the time in the wire format."""
        ago = with_units(value)
        try:
            if ago is not None:
                return (datetime.now(UTC) - timedelta(seconds=ago)).isoformat(timespec="milliseconds")
            return datetime.fromisoformat(value).astimezone(UTC).isoformat(timespec="milliseconds")
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is not a valid time; expected {_PAST_TIMES}", param, ctx)


class When(click.ParamType[str]):
    """A time in the future; see `times`."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the time in the wire format."""
        from queuectl_client.cli.jobinput.times import moment, wire_text

        try:
            return wire_text(moment(value, datetime.now(UTC)))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        except OverflowError:
            self.fail(f"{value!r} is too far in the future", param, ctx)


DURATION: Final = Duration()
AGE: Final = Age()
PAIR: Final = Pair()
MOMENT: Final = Moment()
WHEN: Final = When()
