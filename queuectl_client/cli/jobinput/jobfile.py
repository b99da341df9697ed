"""Read the jobs of a file: JSON objects, or shell commands, one per line. Streams, so memory is bounded.

Objects may be separated by any white space, or be in an array, as printed by `list --json`. Blank lines and lines that
begin with `#` are skipped.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, Final, NamedTuple

from queuectl_client.cli.jobinput.jobjson import DECODER, SHELL_HINT, TOO_DEEP
from queuectl_client.errors import InvalidParams

LONGEST_LINE: Final = 2 * 1024 * 1024
"""Maximum length of a line in bytes. Two such lines fit into a message."""
SCRIPT: Final = (
    "it begins with #!, so this is a script and not a list of commands; "
    "to enqueue it as one job: queuectl enqueue --script FILE"
)
_ARRAY: Final = re.compile(r"\[\s*(?:[{\]]|$)")
_SPACES: Final = re.compile(r"\s*")


class Entry(NamedTuple):
    """One job: a JSON object or a shell command, the number of its first line, and its size in bytes."""

    job: dict[str, Any] | str
    line: int
    size: int


def entries(file: BinaryIO, *, shell: bool) -> Iterator[Entry]:
    """Yield the jobs of a file. `shell`: each line is a command, whatever it begins with.

    Raise InvalidParams that names an invalid line.
    """
    lines = _Lines(file)
    while lines.next():
        text = lines.text.strip("\r\n" if lines.number > 1 else "\r\n\ufeff")
        bare = text.lstrip()
        if not bare:
            continue
        if bare.startswith("#"):
            if lines.number == 1 and bare.startswith("#!"):
                raise InvalidParams(f"line 1: {SCRIPT}")
            continue
        if not shell and (bare.startswith("{") or _ARRAY.match(bare)):
            yield from _Json(lines, lines.text.index(bare[0])).objects()
            continue
        if lines.goes_on:
            raise _too_long(lines.number)
        if not shell and bare.startswith("["):
            _refuse_array(bare, lines.number)
        yield Entry(text, lines.number, len(text) if text.isascii() else 4 * len(text))


class _Lines:
    """Reads lines: the current one is `text`, its number `number`."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.goes_on = False
        """Whether the current line is incomplete."""
        self.text = ""
        self.number = 0

    def next(self) -> bool:
        """Read the next line, or the next piece of a very long one. Return False at the end of the file."""
        line = self._file.readline(LONGEST_LINE)
        if not line:
            return False
        self.number += not self.goes_on
        self.goes_on = len(line) >= LONGEST_LINE and not line.endswith(b"\n")
        self.text = line.decode("utf-8", "surrogateescape")
        return True


class _Json:
    """Reads JSON objects from the current line on; they may span lines."""

    def __init__(self, lines: _Lines, at: int) -> None:
        self._lines = lines
        self._text = lines.text
        self._at = at
        self._line = lines.number
        """Line number of the character at `_counted`."""
        self._counted = 0

    def objects(self) -> Iterator[Entry]:
        """Yield objects until the end of a line at which no object or array is open."""
        while (sign := self._sign(goes_on=False)) is not None:
            if sign == "[":
                self._at += 1
                yield from self._elements()
            else:
                yield self._object(sign)

    def _elements(self) -> Iterator[Entry]:
        """Yield the objects of an array, from after its bracket on."""
        sign = self._sign(goes_on=True)
        while sign != "]":
            yield self._object(sign)
            sign = self._sign(goes_on=True)
            if sign == ",":
                self._at += 1
                sign = self._sign(goes_on=True)
                if sign == "]":
                    raise self._error(self._at, "expected a JSON object behind a comma")
            elif sign != "]":
                raise self._error(self._at, "expected , or ] behind an object of an array")
        self._at += 1

    def _sign(self, *, goes_on: bool) -> str | None:
        """Return the next character but white space; None at the end of the line, or if `goes_on` of the file."""
        while True:
            self._at = _SPACES.match(self._text, self._at).end()  # type: ignore[union-attr]  # it matches anything
            if self._at < len(self._text):
                return self._text[self._at]
            if not (goes_on or self._lines.goes_on) or not self._lines.next():
                return None
            self._text, self._at = self._lines.text, 0
            self._line, self._counted = self._lines.number, 0

    def _object(self, sign: str | None) -> Entry:
        if sign != "{":
            raise self._error(self._at, "expected a JSON object" if sign else "the array does not end")
        line = self._line_of(self._at)
        try:
            job, end = DECODER.raw_decode(self._text, self._at)
        except json.JSONDecodeError as error:
            if error.pos < len(self._text.rstrip()) and not self._lines.goes_on:
                raise self._error(error.pos, error.msg) from None
            job, end = self._longer_object(line)
        except RecursionError:
            raise InvalidParams(f"line {line}: {TOO_DEEP}") from None
        size = end - self._at
        self._at = end
        return Entry(job, line, size if self._text.isascii() else 4 * size)

    def _longer_object(self, line: int) -> tuple[dict[str, Any], int]:
        """Read an object that spans lines; decode it once its brackets are closed."""
        start = self._text.rfind("\n", 0, self._at) + 1  # drop what was read
        text, self._at = self._text[start:], self._at - start
        depth, has_end = _depth(text[self._at :], 0)
        while not has_end:
            was_cut = self._lines.goes_on
            if len(text) - self._at > LONGEST_LINE:
                raise _too_long(line)
            if not self._lines.next():
                break
            text += self._lines.text
            # After part of a string, the depth must be computed from its beginning.
            depth, has_end = _depth(text[self._at :], 0) if was_cut else _depth(self._lines.text, depth)
        self._text, self._line, self._counted = text, line, self._at
        try:
            job, end = DECODER.raw_decode(text, self._at)
        except json.JSONDecodeError as error:
            raise self._error(error.pos, error.msg) from None
        except RecursionError:
            raise InvalidParams(f"line {line}: {TOO_DEEP}") from None
        if end - self._at > LONGEST_LINE:
            raise _too_long(line)
        return job, end

    def _line_of(self, position: int) -> int:
        """Return the line number of a character; positions must not decrease between calls."""
        self._line += self._text.count("\n", self._counted, position)
        self._counted = position
        return self._line

    def _error(self, position: int, why: str) -> InvalidParams:
        line = self._line_of(position)
        column = position - self._text.rfind("\n", 0, position)
        return InvalidParams(f"line {line}: invalid JSON at character {column}: {why}. {SHELL_HINT}")


_TOKEN: Final = re.compile(r'"(?:[^"\\\n]|\\.)*(?:"|\\?$)|[{}\[\]]', re.MULTILINE)
"""Matches a string, possibly truncated, or a bracket."""


def _depth(text: str, depth: int) -> tuple[int, bool]:
    """Return the number of open brackets after the text, and whether it was zero at some point."""
    for token in _TOKEN.finditer(text):
        sign = token[0]
        if sign in "{[":
            depth += 1
        elif sign in "]}":
            depth -= 1
            if depth <= 0:
                return depth, True
    return depth, False


def _refuse_array(text: str, line: int) -> None:
    """Raise InvalidParams for a line that is an array of anything but objects."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return
    raise InvalidParams(
        f"line {line}: a JSON array of jobs holds objects; "
        'for a program and its arguments: {"command": ["program", "argument"]}'
    )


def _too_long(line: int) -> InvalidParams:
    return InvalidParams(f"line {line}: it is longer than {LONGEST_LINE:,} bytes")
