"""Text for people: what cannot act on a terminal, times, states, durations, columns; and how large the terminal is.

Prints nothing (`printing` does), knows no connection and decides nothing. Whatever came from a user passes `escape`.
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
"""Where each state comes when jobs are sorted by it."""
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
"""Of each colour its parameter of Select Graphic Rendition (ECMA-48)."""


def escape(text: object) -> str:
    """The text in one line, with everything that is not plainly visible shown as an escape: `\\x1b`, `\\n`, `\\xff`."""
    shown = text.decode("utf-8", "surrogateescape") if isinstance(text, bytes) else str(text)
    if shown.isprintable():
        return shown
    return "".join(letter if letter.isprintable() else _visible(letter) for letter in shown)


def escape_lines(text: str) -> str:
    """As `escape`, but line ends stay."""
    return "\n".join(escape(line) for line in text.split("\n"))


def _visible(letter: str) -> str:
    if "\udc80" <= letter <= "\udcff":
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return letter.encode("unicode_escape").decode("ascii")


def command_text(command: object) -> str:
    """A command as it could be typed: a shell string as it is, an argv quoted."""
    if isinstance(command, list | tuple):
        import shlex

        return escape(shlex.join(escape(item) if isinstance(item, bytes) else str(item) for item in command))
    return escape(command)


def state_text(job: Job) -> str:
    """The label of its state; a paused job says so."""
    label = STATE_LABELS.get(str(job["state"]), escape(job["state"]))
    return f"{label}, paused" if job.get("paused") else label


def parse_time(text: str) -> datetime:
    """A time of the wire (ISO 8601, Z)."""
    return datetime.fromisoformat(text)


def clock_time(text: object, now: datetime | None = None) -> str:
    """A time of the wire in the local zone: today's as 14:03:59, others with their date; `-` for none."""
    if not isinstance(text, str):
        return "-"
    here = parse_time(text).astimezone()
    today = (now or datetime.now(UTC)).astimezone()
    if here.date() == today.date():
        return f"{here:%H:%M:%S}"
    return f"{here:%b %d %H:%M}" if abs((today - here).days) < 180 else f"{here:%Y-%m-%d}"


def full_time(text: object) -> str:
    """A time of the wire in the local zone, to the second, with its zone."""
    return f"{parse_time(text).astimezone():%Y-%m-%d %H:%M:%S %Z}" if isinstance(text, str) else "-"


def duration(seconds: object) -> str:
    """A duration for people, with the units that options take: 3ms, 0.25s, 12s, 3m 20s, 2h 5m, 3d 4h."""
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
    """Bytes for people: 812 B, 3.4 MiB."""
    if not isinstance(count, int | float):
        return "-"
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError("no size is left")


def result_text(end: Mapping[str, Any]) -> str:
    """How a job or an attempt ended, in words."""
    if end.get("reason"):
        return escape(end["reason"])
    if end.get("exit_code") is not None:
        return f"exit {end['exit_code']}"
    return f"signal {end['signal']}" if end.get("signal") is not None else "-"


def signal_text(number: int) -> str:
    """SIGKILL, of 9; the number itself where it has no name."""
    from signal import Signals

    return next((signal.name for signal in Signals if signal == number), str(number))


def setting_text(value: object) -> str:
    """A setting as it would be typed."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    return escape(value)


def plural(count: int, word: str) -> str:
    """1 job, 2 jobs."""
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


def aligned(
    headers: Sequence[str], rows: Iterable[Sequence[str]], *, colours: bool = False, looked_at: int = 1000
) -> Iterable[str]:
    """Lines of text in columns, as wide as the first `looked_at` rows need; the last column is whole.

    Only so many rows are held, so that a list of any length streams. `colours`: the headers are bold, states have
    their colour.
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
    """How many places of a terminal the text takes: two for a wide character, none for a combining one."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(letter) else 2 if east_asian_width(letter) in "WF" else 1 for letter in text)


def on_terminal() -> bool:
    """Whether stdout is one."""
    return sys.stdout.isatty()


def terminal_width() -> int:
    """Columns of the terminal on stdout; COLUMNS wins; 80 when it does not say."""
    named = os.environ.get("COLUMNS", "")
    if named.isdecimal() and int(named) > 0:
        return int(named)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or 80
    except OSError:
        return 80


def terminal_height() -> int:
    """Lines of the terminal on stdout; LINES wins; 24 when it does not say."""
    named = os.environ.get("LINES", "")
    if named.isdecimal() and int(named) > 0:
        return int(named)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).lines or 24
    except OSError:
        return 24
