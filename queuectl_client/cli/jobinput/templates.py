"""One command for many jobs: `{}` in it stands for the number of each job of an array, or for a line of a file.

In an argv the line is a part of one argument, whatever bytes it has. In a shell command it is quoted for the shell, so
`{}` must stand where a word may: not inside quotes, where it would be quoted a second time, nor where the shell reads
text without splitting it into words.
"""

import re
import shlex
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Final, NamedTuple

from queuectl_client.errors import InvalidParams

PLACE: Final = "{}"
INDEX_VARIABLE: Final = "QUEUECTL_ARRAY_INDEX"
MOST_JOBS: Final = 1_000_000
"""Jobs of one array; more is a slip of the finger more often than not."""
HIGHEST_INDEX: Final = 1_000_000_000
ARRAY_FORM: Final = "numbers and ranges such as 1-100, 1,3,7-9, 0-90:10, and %K at the end for at most K at once"
_SPAN: Final = re.compile(r"(\d+)(?:-(\d+)(?::(\d+))?)?", re.ASCII)
_LONGEST_NUMBER: Final = 18
"""Digits of a number that is looked at; of thousands Python would make none."""

Command = str | Sequence[str]


class Array(NamedTuple):
    """The numbers of an array's jobs, in order and each once, and how many of them may run at once."""

    numbers: Sequence[int]
    at_once: int | None


def read_array(text: str) -> Array:
    """What `1-100%5` asks for. Raises InvalidParams."""
    spans_text, percent, most = text.replace(" ", "").partition("%")
    spans = [_span(text, part) for part in spans_text.split(",")]
    if sum(map(len, spans)) > MOST_JOBS:
        raise InvalidParams(f"--array {text!r} is more than {MOST_JOBS:,} jobs")
    if percent and not (
        most.isdecimal() and most.isascii() and len(most) <= _LONGEST_NUMBER and 1 <= int(most) <= MOST_JOBS
    ):
        raise InvalidParams(f"--array {text!r}: expected after % how many jobs may run at once, 1 to {MOST_JOBS:,}")
    numbers = spans[0] if len(spans) == 1 else list(dict.fromkeys(chain(*spans)))
    return Array(numbers, int(most) if percent else None)


def _span(text: str, part: str) -> Sequence[int]:
    found = _SPAN.fullmatch(part)
    if found is None:
        raise InvalidParams(f"--array {text!r} is not of the form: {ARRAY_FORM}")
    numbers = (found[1], found[2] or found[1], found[3] or "1")
    if any(len(number) > _LONGEST_NUMBER or int(number) > HIGHEST_INDEX for number in numbers):
        raise InvalidParams(f"--array {text!r}: {part} is too high; numbers go up to {HIGHEST_INDEX:,}")
    first, last, step = map(int, numbers)
    if not (first <= last and step):
        raise InvalidParams(f"--array {text!r}: {part} is not a range from a smaller number to a larger one")
    return range(first, last + 1, step)


class Template:
    """A command with places for an item."""

    def __init__(self, command: Command, *, of_lines: bool) -> None:
        """`of_lines`: the items may hold anything, and without a place they are the last argument, as xargs has it.

        Raises InvalidParams where a place could not be filled safely.
        """
        self._pieces: list[str] = []
        self._argv: list[str] = []
        if isinstance(command, str):
            if of_lines:
                _refuse_unsafe(command)
            append = of_lines and PLACE not in command
            self._pieces = [f"{command} ", ""] if append else command.split(PLACE)
        else:
            append = of_lines and not any(PLACE in word for word in command)
            self._argv = [*command, PLACE] if append else list(command)

    def filled(self, item: str) -> str | list[str]:
        """The command for this item."""
        if self._argv:
            return [word.replace(PLACE, item) for word in self._argv]
        return shlex.quote(item).join(self._pieces)


def _refuse_unsafe(command: str) -> None:
    """A place where the shell would read the item as anything but a word is an error."""
    for position, why in _odd_places(command):
        message = (
            f"{PLACE} at character {position + 1} {why}; it is quoted automatically. Write it bare, or give the command"
        )
        raise InvalidParams(f"{message} as several words (-- program {PLACE} …), which need no quoting at all")


def _odd_places(command: str) -> Iterator[tuple[int, str]]:
    quote, position = "", 0
    while position < len(command):
        char = command[position]
        if command.startswith(PLACE, position):
            before = command[position - 1 : position]
            if quote:
                yield position, f"is inside {_QUOTES[quote]}"
            elif before in ("\\", "$"):
                yield position, f"follows {before}"
            position += 1
        elif char == "\\" and quote != "'" and not command.startswith(PLACE, position + 1):
            position += 1
        elif quote == char:
            quote = ""
        elif not quote and char in _QUOTES:
            quote = char
        elif not quote and command.startswith("<<", position) and PLACE in command[position:]:
            yield command.index(PLACE, position), "follows <<, where a here-document may begin"
        position += 1


_QUOTES: Final = {"'": "single quotes", '"': "double quotes", "`": "backquotes"}
