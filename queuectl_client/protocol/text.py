"""Wire encoding of text that is not UTF-8.

Command lines and environments are bytes. In memory they are `str`, with invalid UTF-8 as surrogate escapes (PEP 383);
on the wire such text is MessagePack bin, and all other text is str. This module converts between the two.
"""

from typing import Any


class NotText(ValueError):
    """A string has a lone surrogate that does not stand for a byte and so cannot be encoded."""


def to_wire(text: str) -> str | bytes:
    """Return the text if it is valid UTF-8, otherwise its bytes. Raise NotText."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return _escaped_bytes(text)
    return text


def from_wire(value: str | bytes) -> str:
    """Return the text in memory: invalid UTF-8 becomes surrogate escapes."""
    return value if isinstance(value, str) else value.decode("utf-8", "surrogateescape")


def all_to_wire(value: Any) -> Any:
    """Return a copy of a value of maps, lists and scalars, with `to_wire` applied to every text."""
    if isinstance(value, str):
        return to_wire(value)
    if isinstance(value, dict):
        return {all_to_wire(key): all_to_wire(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [all_to_wire(item) for item in value]
    return value


def is_plain(text: str) -> bool:
    """Return whether the text is valid UTF-8, without surrogate escapes."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _escaped_bytes(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        raise NotText(f"a string contains the lone surrogate U+{code:04X}, which no encoding has") from None
