"""Parse references to jobs: an id, a number, or a selector.

    job_7 · 17      one job, by its id or else by its number
    last            the newest job
    3-9             those with these numbers
    label:k=v       those with this label
    name:x*         those whose name matches this glob
    batch:b         those of this batch
    @failed         those in this state, in any case
    all             all jobs

An exact id takes precedence: a job may have the id `3-9`. The store looks up the id before a text is parsed as a
selector.
"""

import re
from typing import Any, Final, NamedTuple

from queuectl_client.protocol.attributes import ValueKind
from queuectl_client.protocol.checks import BadParams
from queuectl_client.protocol.dependencies import BATCH_PREFIX
from queuectl_client.protocol.filters import Comparison, Filter, Key
from queuectl_client.protocol.spelling import MEANT_STATES, hint
from queuectl_client.protocol.vocabulary import JobState

_NUMBER: Final = re.compile(r"\d{1,18}", re.ASCII)
_RANGE: Final = re.compile(r"(\d{1,18})-(\d{1,18})", re.ASCII)
_FORMS: Final = {"label": "label:KEY=VALUE", "name": "name:GLOB", "batch": "batch:NAME"}


class One(NamedTuple):
    """One job, by its id or else by its number."""

    text: str


class Last(NamedTuple):
    """The newest job."""


class Criteria(NamedTuple):
    """Any number of jobs: those that match the filter, in a range of numbers.

    `may_be_empty`: matching no job is not an error. For other selectors it is, as it is most likely a mistake.
    """

    where: Filter | None
    first: int = 0
    last: int | None = None
    may_be_empty: bool = False


Selector = One | Last | Criteria


def parse(text: str, key: str = "ids") -> Selector:
    """Return the selector that the text means if no job has it as its id.

    Raise BadParams, naming the parameter `key`, for an invalid selector, such as an unknown state.
    """
    if text == "last":
        return Last()
    if text == "all":
        return Criteria(None, may_be_empty=True)
    if text.startswith("@"):
        return Criteria(Comparison(Key("state", ValueKind.STATE), "=", (_state(text, key),)), may_be_empty=True)
    kind, colon, rest = text.partition(":")
    if colon and kind in _FORMS:
        return Criteria(_compared(text, kind, rest, key))
    span = _RANGE.fullmatch(text)
    return One(text) if span is None else Criteria(None, int(span[1]), int(span[2]))


def number(text: str) -> int | None:
    """Return the number of a job, or None if the text is not a number."""
    return int(text) if _NUMBER.fullmatch(text) else None


def hidden_by(id: str) -> str | None:
    """Return what the text of an id means while no job has it, and how else to refer to that; None: nothing."""
    if (seq := number(id)) is not None:
        return f"job number {seq}, which {seq}-{seq} names"
    span = _RANGE.fullmatch(id)
    return None if span is None else f"the jobs numbered {int(span[1])} to {int(span[2])}"


def is_selector(parent: str) -> bool:
    """Return whether a dependency is to be looked up as a selector, unless it is an exact id.

    False for `batch:NAME`, which stands for all jobs of a batch, including later ones. True also for an invalid
    selector: looking it up reports the error.
    """
    if parent.startswith(BATCH_PREFIX) and parent != BATCH_PREFIX:
        return False
    try:
        return not isinstance(parse(parent), One)
    except BadParams:
        return True


def _compared(text: str, kind: str, rest: str, key: str) -> Filter:
    name, equals, value = rest.partition("=")
    if not rest or (kind == "label" and not (name and equals)):
        raise BadParams(f"invalid selector {text!r}; expected {_FORMS[kind]}", key, _data(text, key))
    if kind == "label":
        return Comparison(Key("label", ValueKind.TEXT, name), "=", (value,))
    return Comparison(Key(kind, ValueKind.TEXT), "~" if kind == "name" else "=", (rest,))


def _state(text: str, key: str) -> str:
    given = text[1:].lower()
    try:
        return JobState(given).value
    except ValueError:
        states = [f"@{state}" for state in JobState]
        meanings = {f"@{word}": f"@{state}" for word, state in MEANT_STATES.items()}
        near = hint(f"@{given}", states, otherwise=f"expected one of {', '.join(states)}", meanings=meanings)
        raise BadParams(f"unknown state {text!r}{near}", key, _data(text, key)) from None


def _data(text: str, key: str) -> dict[str, Any]:
    return {"key": key, "id": text}
