"""Spelling of words: snake_case, camelCase, and the known word nearest to a mistyped one."""

from collections.abc import Iterable, Mapping
from typing import Final

SHOWN = 60
"""Maximum length of a mistyped word; none is near a longer one."""


MEANT_KEYS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("cmd", "script", "exec"), "command"),
    **dict.fromkeys(("retries", "retry", "max_attempts"), "max_retries"),
    **dict.fromkeys(("after", "depends", "dependencies", "needs_jobs"), "depends_on"),
    "prio": "priority",
    **dict.fromkeys(("dir", "directory", "workdir", "working_directory"), "cwd"),
    **dict.fromkeys(("tag", "tags"), "labels"),
}
"""Keys of other programs' jobs, by what they mean here. A key is suggested only where it is known."""
MEANT_STATES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("queued", "waiting", "ready", "delayed"), "pending"),
    **dict.fromkeys(("running", "runing", "active", "started", "paused", "stopped"), "processing"),
    **dict.fromkeys(("done", "success", "succeeded", "successful", "finished", "ok"), "completed"),
    **dict.fromkeys(("dlq", "dead (dlq)", "error"), "dead"),
    **dict.fromkeys(("stashed", "suspended"), "held"),
    **dict.fromkeys(("killed", "removed", "aborted"), "cancelled"),
}
"""States of other programs."""


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


def hint(word: str, known: Iterable[str], *, otherwise: str = "", meanings: Mapping[str, str] | None = None) -> str:
    """Return the end of an error about an unknown word: `; did you mean X?`, or `; ` and `otherwise`.

    `meanings`: words of other programs; what one means here is suggested before a word that is spelled like it.
    """
    known = tuple(known)
    near = (meanings or {}).get(snake_case(word[:SHOWN]))
    if near not in known:
        near = nearest(word, known)
    said = f"did you mean {near}?" if near is not None else otherwise
    return f"; {said}" if said else ""
