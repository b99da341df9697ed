"""Wire encoding of text that is not UTF-8.

Command lines and environments are bytes. In memory they are `str`, with the bytes that are not UTF-8 as
surrogate escapes (PEP 383); on the wire such text is MessagePack's bin, all other text is its str.
This module owns that translation and knows no keys and no messages.
"""

from typing import Any


class NotText(ValueError):
    """A string holds a lone surrogate that stands for no byte, so that no encoding has it."""


def to_wire(text: str) -> str | bytes:
    """The text itself when it is UTF-8, else its bytes. Raises NotText."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return _escaped_bytes(text)
    return text


def from_wire(value: str | bytes) -> str:
    """The text in memory: bytes that are not UTF-8 become surrogate escapes."""
    return value if isinstance(value, str) else value.decode("utf-8", "surrogateescape")


def all_to_wire(value: Any) -> Any:
    """A copy of a value made of maps, lists and scalars with every text in it as `to_wire` gives it."""
    if isinstance(value, str):
        return to_wire(value)
    if isinstance(value, dict):
        return {all_to_wire(key): all_to_wire(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [all_to_wire(item) for item in value]
    return value


def is_plain(text: str) -> bool:
    """Whether the text is UTF-8: no surrogate escapes in it."""
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
