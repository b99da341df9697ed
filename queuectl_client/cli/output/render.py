"""Format text: escaping, times, states, durations, columns; and the size of the terminal.

Prints nothing (see `printing`). All text from users must pass `escape`.
"""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

Job = Mapping[str, Any]

STATE_LABELS: Final[Mapping[str, str]] = {
    "pending": "Pending",
    "processing": "Processing",
    "completed": "Completed",
    "failed": "Failed",
    "dead": "Dead (DLQ)",
    "held": "Held",
    "blocked": "Blocked",
    "cancelled": "Cancelled",
}
STATE_ORDER: Final[Mapping[str, int]] = {state: place for place, state in enumerate(STATE_LABELS)}
"""Sort order of states."""
STATE_COLOURS: Final[Mapping[str, str]] = {
    "pending": "cyan",
    "processing": "blue",
    "completed": "green",
    "failed": "yellow",
    "dead": "red",
    "held": "magenta",
    "blocked": "magenta",
    "cancelled": "bright_black",
}
COLOUR_OF_LABEL: Final[Mapping[str, str]] = {STATE_LABELS[state]: colour for state, colour in STATE_COLOURS.items()}
_SGR: Final[Mapping[str, int]] = {
    "red": 31, "green": 32, "yellow": 33, "blue": 34, "magenta": 35, "cyan": 36, "bright_black": 90,
}  # fmt: skip
"""Parameters of Select Graphic Rendition (ECMA-48), by colour."""


def escape(text: object) -> str:
    """Return the text on one line, with everything that is not visible as an escape: `\\x1b`, `\\n`, `\\xff`."""
    shown = text.decode("utf-8", "surrogateescape") if isinstance(text, bytes) else str(text)
    if shown.isprintable():
        return shown
    return "".join(letter if letter.isprintable() else _visible(letter) for letter in shown)


def escape_lines(text: str) -> str:
    """Like `escape`, but keep line ends."""
    return "\n".join(escape(line) for line in text.split("\n"))


def _visible(letter: str) -> str:
    if "\udc80" <= letter <= "\udcff":
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return letter.encode("unicode_escape").decode("ascii")


def command_text(command: object) -> str:
    """Return a command as typed in a shell: a shell string unchanged, an argv quoted."""
    if isinstance(command, list | tuple):
        import shlex

        return escape(shlex.join(escape(item) if isinstance(item, bytes) else str(item) for item in command))
    return escape(command)


def state_text(job: Job) -> str:
    """Return the label of a job's state, or of a paused job."""
    label = STATE_LABELS.get(str(job["state"]), escape(job["state"]))
    return f"{label}, paused" if job.get("paused") else label


def parse_time(text: str) -> datetime:
    """Parse a time in the wire format (ISO 8601, Z)."""
    return datetime.fromisoformat(text)


def clock_time(text: object, now: datetime | None = None) -> str:
    """Return a time in the local zone: today as 14:03:59, otherwise with the date; `-` for None."""
    if not isinstance(text, str):
        return "-"
    here = parse_time(text).astimezone()
    today = (now or datetime.now(UTC)).astimezone()
    if here.date() == today.date():
        return f"{here:%H:%M:%S}"
    return f"{here:%b %d %H:%M}" if abs((today - here).days) < 180 else f"{here:%Y-%m-%d}"


def full_time(text: object) -> str:
    """Return a time in the local zone, to the second, with the zone."""
    return f"{parse_time(text).astimezone():%Y-%m-%d %H:%M:%S %Z}" if isinstance(text, str) else "-"


def duration(seconds: object) -> str:
    """Return a duration as text, in the units of options: 3ms, 0.25s, 12s, 3m 20s, 2h 5m, 3d 4h."""
    if not isinstance(seconds, int | float):
        return "-"
    if 0 < seconds < 0.1:
        return f"{max(round(seconds * 1000), 1)}ms"
    if seconds < 10:
        return f"{seconds:.2f}".rstrip("0").rstrip(".") + "s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    for unit, size, smaller, small in (("d", 86400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        if whole >= size:
            rest = whole % size // small
            return f"{whole // size}{unit} {rest}{smaller}" if rest else f"{whole // size}{unit}"
    raise AssertionError("no duration is left")


def size(count: object) -> str:
    """Return a number of bytes as text: 812 B, 3.4 MiB."""
    if not isinstance(count, int | float):
        return "-"
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError("no size is left")


def result_text(end: Mapping[str, Any]) -> str:
    """Return how a job or an attempt ended, as text."""
    if end.get("reason"):
        return escape(end["reason"])
    if end.get("exit_code") is not None:
        return f"exit {end['exit_code']}"
    return f"signal {end['signal']}" if end.get("signal") is not None else "-"


def signal_text(number: int) -> str:
    """Return the name of a signal, or its number if it has none."""
    from signal import Signals

    return next((signal.name for signal in Signals if signal == number), str(number))


def setting_text(value: object) -> str:
    """Return the value of a setting as it is typed."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    return escape(value)


def plural(count: int, word: str) -> str:
    """Return a count with its noun: 1 job, 2 jobs."""
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


def aligned(
    headers: Sequence[str], rows: Iterable[Sequence[str]], *, colours: bool = False, looked_at: int = 1000
) -> Iterable[str]:
    """Yield aligned lines; column widths are those of the first `looked_at` rows; the last column is not padded.

    Only these rows are held in memory, so lists of any length stream. `colours`: bold headers, coloured states.
    """
    source = iter(rows)
    first = [headers, *islice(source, looked_at)]
    widths = [max(cells(row[column]) for row in first) for column in range(len(headers))]
    for group in (first, source):
        for row in group:
            paint = (_bold if row is headers else _painted) if colours else str
            padded = (paint(cell) + " " * (width - cells(cell)) for cell, width in zip(row, widths, strict=True))
            yield "  ".join(padded).rstrip()


def _bold(text: str) -> str:
    return f"\x1b[1m{text}\x1b[0m"


def _painted(cell: str) -> str:
    colour = COLOUR_OF_LABEL.get(cell.partition(",")[0])
    return cell if colour is None else f"\x1b[{_SGR[colour]}m{cell}\x1b[0m"


def cells(text: str) -> int:
    """Return the width of the text in terminal cells: two for a wide character, none for a combining one."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(letter) else 2 if east_asian_width(letter) in "WF" else 1 for letter in text)


def on_terminal() -> bool:
    """Return whether stdout is a terminal."""
    return sys.stdout.isatty()


def terminal_width() -> int:
    """Return COLUMNS, else the columns of the terminal on stdout, else 80."""
    named = os.environ.get("COLUMNS", "")
    if named.isdecimal() and int(named) > 0:
        return int(named)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or 80
    except OSError:
        return 80


def terminal_height() -> int:
    """Return LINES, else the lines of the terminal on stdout, else 24."""
    named = os.environ.get("LINES", "")
    if named.isdecimal() and int(named) > 0:
        return int(named)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).lines or 24
    except OSError:
        return 24
