"""Spelling of words: snake_case, camelCase, and the known word nearest to a mistyped one."""

from collections.abc import Iterable

SHOWN = 60
"""Maximum length of a mistyped word; none is near a longer one."""


def snake_case(word: str) -> str:
    """Return `max_retries` for `maxRetries`, `max-retries`, `MAX_RETRIES` and `max_retries`."""
    if word.isupper():
        word = word.lower()
    return "".join("_" + char.lower() if char.isupper() else char for char in word).replace("-", "_").lstrip("_")


def camel_case(word: str) -> str:
    """Return `maxRetries` for `max_retries`."""
    head, *rest = word.split("_")
    return head + "".join(part.capitalize() for part in rest)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word nearest to a mistyped one, or None."""
    from difflib import get_close_matches  # only needed for errors

    near = get_close_matches(word[:SHOWN], list(known), n=1, cutoff=0.5)
    return near[0] if near else None


def hint(word: str, known: Iterable[str], *, otherwise: str = "") -> str:
    """Return the end of an error about an unknown word: `; did you mean X?`, or `; ` and `otherwise`."""
    near = nearest(word, known)
    said = f"did you mean {near}?" if near is not None else otherwise
    return f"; {said}" if said else ""
