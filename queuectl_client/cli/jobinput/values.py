"""Values of options as people type them: durations with units, pairs, times."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import click

from queuectl_client.protocol.durations import seconds, with_units

_DURATIONS: Final = "seconds (90) or units (90s, 10m, 1h30m, 7d)"
_PAST_TIMES: Final = "ISO 8601 (2026-11-24T14:00) or an age (2h, 7d)"


class Whole(click.ParamType[float]):
    """A whole number. One that no message can hold goes as a float, so that the daemon can say what is allowed."""

    name = "integer"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number of what was typed."""
        try:
            number = int(value)
        except ValueError:
            self.fail(f"{value!r} is not a whole number", param, ctx)
        if abs(number) < 2**63:
            return number
        return float(max(-(10**300), min(number, 10**300)))


WHOLE: Final = Whole()


class Duration(click.ParamType[float]):
    """Seconds, or a number with its unit."""

    name = "duration"  # what help shows in its place, in capitals

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds of what was typed."""
        if isinstance(value, int | float):
            return value
        found = seconds(value)
        if found is None or found in (float("inf"), float("-inf")):
            self.fail(f"{value!r} is not a valid duration; expected {_DURATIONS}", param, ctx)
        return found


class Pair(click.ParamType[tuple[str, str]]):
    """KEY=VALUE; the value may be empty and may hold more equals signs."""

    def __init__(self, form: str = "KEY=VALUE") -> None:
        self.name = form

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """The two halves of what was typed."""
        if isinstance(value, tuple):
            return value
        key, equals, rest = value.partition("=")
        if not key or not equals:
            self.fail(f"{value!r} is not of the form {self.name}", param, ctx)
        return key, rest


class Moment(click.ParamType[str]):
    """A time in the past: ISO 8601, or how long ago (`2h`, `7d`)."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The time as the wire has it."""
        ago = with_units(value)
        try:
            if ago is not None:
                return (datetime.now(UTC) - timedelta(seconds=ago)).isoformat(timespec="milliseconds")
            return datetime.fromisoformat(value).astimezone(UTC).isoformat(timespec="milliseconds")
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is not a valid time; expected {_PAST_TIMES}", param, ctx)


class When(click.ParamType[str]):
    """A time to come, as people say it. See `when`."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The time as the wire has it."""
        from queuectl_client.cli.jobinput.times import moment, wire_text

        try:
            return wire_text(moment(value, datetime.now(UTC)))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        except OverflowError:
            self.fail(f"{value!r} is too far in the future", param, ctx)


DURATION: Final = Duration()
PAIR: Final = Pair()
MOMENT: Final = Moment()
WHEN: Final = When()
