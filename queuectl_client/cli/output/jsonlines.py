"""JSON for programs: one document a line, arrays that are written as they come."""

import json
import re
import sys
from collections.abc import Iterable
from typing import Any, Final

_NEEDS_ESCAPES: Final = re.compile("[\x7f-\x9f\ud800-\udfff]")
"""Controls that a terminal may obey, and bytes that are not UTF-8 (PEP 383): JSON can say them in ASCII."""


def dumps(value: Any) -> str:
    """One line of JSON that any terminal and any encoding of stdout can take."""
    text = json.dumps(value, ensure_ascii=False, default=_text)
    if _NEEDS_ESCAPES.search(text) or not _speaks_utf8():
        return json.dumps(value, default=_text)
    return text


def write_array(values: Iterable[Any]) -> None:
    """One array to stdout, an element a line, holding no more than one element at a time."""
    write = sys.stdout.write
    before = "["
    for value in values:
        write(before + dumps(value))
        before = ",\n "
    write("[]\n" if before == "[" else "]\n")


def write_lines(values: Iterable[Any]) -> None:
    """A document a line to stdout."""
    for value in values:
        sys.stdout.write(dumps(value) + "\n")


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _speaks_utf8() -> bool:
    return (sys.stdout.encoding or "").lower().replace("_", "-") in ("utf-8", "utf8")
