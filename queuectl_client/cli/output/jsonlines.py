"""JSON output: one document per line, and streamed arrays."""

import json
import re
import sys
from collections.abc import Iterable
from typing import Any, Final

_NEEDS_ESCAPES: Final = re.compile("[\x7f-\x9f\ud800-\udfff]")
"""Terminal controls, and invalid UTF-8 (PEP 383): written as JSON escapes in ASCII."""


def dumps(value: Any) -> str:
    """Return one line of JSON that is safe for any terminal and encoding of stdout."""
    text = json.dumps(value, ensure_ascii=False, default=_text)
    if _NEEDS_ESCAPES.search(text) or not _speaks_utf8():
        return json.dumps(value, default=_text)
    return text


def write_array(values: Iterable[Any]) -> None:
    """Write an array to stdout, one element per line, with only one element in memory."""
    write = sys.stdout.write
    before = "["
    for value in values:
        write(before + dumps(value))
        before = ",\n "
    write("[]\n" if before == "[" else "]\n")


def write_lines(values: Iterable[Any]) -> None:
    """Write one document per line to stdout."""
    for value in values:
        sys.stdout.write(dumps(value) + "\n")


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _speaks_utf8() -> bool:
    return (sys.stdout.encoding or "").lower().replace("_", "-") in ("utf-8", "utf8")
