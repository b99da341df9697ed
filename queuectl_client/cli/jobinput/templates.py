"""Command templates for many jobs: `{}` is replaced by the number of an array's job, or by a line of a file.

In an argv, the line is part of one argument, whatever its bytes. In a shell command it is quoted, so `{}` must be where
the shell expects a word: not inside quotes, where it would be quoted twice, nor where the shell does not split words.
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
"""Maximum jobs of an array; more is most likely a typing error."""
HIGHEST_INDEX: Final = 1_000_000_000
ARRAY_FORM: Final = "numbers and ranges such as 1-100, 1,3,7-9, 0-90:10, and %K at the end for at most K at once"
_SPAN: Final = re.compile(r"(\d+)(?:-(\d+)(?::(\d+))?)?", re.ASCII)
_LONGEST_NUMBER: Final = 18
"""Maximum digits of a number; Python refuses to convert thousands."""

Command = str | Sequence[str]


class Array(NamedTuple):
    """The numbers of an array's jobs, sorted and unique, and how many may run at once."""

    numbers: Sequence[int]
    at_once: int | None


def read_array(text: str) -> Array:
    """Parse an array such as `1-100%5`. Raise InvalidParams."""
    spans_text, percent, most = text.replace(" ", "").partition("%")
    spans = [_span(text, part) for part in spans_text.split(",")]
    if sum(map(len, spans)) > MOST_JOBS:
        raise InvalidParams(f"invalid --array: {text!r}; expected at most {MOST_JOBS:,} jobs")
    if percent and not (
        most.isdecimal() and most.isascii() and len(most) <= _LONGEST_NUMBER and 1 <= int(most) <= MOST_JOBS
    ):
        raise InvalidParams(f"invalid --array: {text!r}; expected after % a number of jobs from 1 to {MOST_JOBS:,}")
    numbers = spans[0] if len(spans) == 1 else list(dict.fromkeys(chain(*spans)))
    return Array(numbers, int(most) if percent else None)


def _span(text: str, part: str) -> Sequence[int]:
    found = _SPAN.fullmatch(part)
    if found is None:
        raise InvalidParams(f"invalid --array: {text!r}; expected {ARRAY_FORM}")
    numbers = (found[1], found[2] or found[1], found[3] or "1")
    if any(len(number) > _LONGEST_NUMBER or int(number) > HIGHEST_INDEX for number in numbers):
        raise InvalidParams(f"invalid --array: {text!r}; expected numbers up to {HIGHEST_INDEX:,}")
    first, last, step = map(int, numbers)
    if not (first <= last and step):
        raise InvalidParams(f"invalid --array: {text!r}; expected ranges from a smaller number to a larger one")
    return range(first, last + 1, step)


class Template:
    """A command with placeholders for an item."""

    def __init__(self, command: Command, *, of_lines: bool) -> None:
        """`of_lines`: items may be any text; without a placeholder they are the last argument, as with xargs.

        Raise InvalidParams for a placeholder that cannot be replaced safely.
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
        """Return the command for this item."""
        if self._argv:
            return [word.replace(PLACE, item) for word in self._argv]
        return shlex.quote(item).join(self._pieces)


def _refuse_unsafe(command: str) -> None:
    """Raise InvalidParams for a placeholder where the shell would not read the item as one word."""
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
