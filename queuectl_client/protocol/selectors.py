"""Parse references to jobs: an id, a number, or a selector.

    job_7 · 17      one job, by its id or else by its number
    last            the newest job
    3-9             those with these numbers
    label:k=v       those with this label
    name:x*         those whose name is like this glob
    batch:b         those of this batch
    @failed         those in this state, in small or capital letters
    all             all jobs

An exact id comes before everything else: a job may have the id `3-9`. Whether there is one is for the store to say; it
is looked up before a text is read as a selector.
"""

import re
from typing import Any, Final, NamedTuple

from queuectl_client.protocol.attributes import ValueKind
from queuectl_client.protocol.checks import BadParams
from queuectl_client.protocol.dependencies import BATCH_PREFIX
from queuectl_client.protocol.filters import Comparison, Filter, Key
from queuectl_client.protocol.spelling import hint
from queuectl_client.protocol.vocabulary import JobState

_NUMBER: Final = re.compile(r"\d{1,18}", re.ASCII)
_RANGE: Final = re.compile(r"(\d{1,18})-(\d{1,18})", re.ASCII)
_FORMS: Final = {"label": "label:KEY=VALUE", "name": "name:GLOB", "batch": "batch:NAME"}


class One(NamedTuple):
    """A job by its id, or else by its number."""

    text: str


class Last(NamedTuple):
    """The newest job."""


class Criteria(NamedTuple):
    """Any number of jobs: those that pass the filter, from one number to another.

    `may_be_empty`: that no job is among them is nothing unusual. Of any other selector it is most likely a slip.
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
    """The number of a job as it was written; None when the text is none."""
    return int(text) if _NUMBER.fullmatch(text) else None


def hidden_by(id: str) -> str | None:
    """What an id stands for as long as no job has it, with another way to name that. None: nothing."""
    if (seq := number(id)) is not None:
        return f"job number {seq}, which {seq}-{seq} names"
    span = _RANGE.fullmatch(id)
    return None if span is None else f"the jobs numbered {int(span[1])} to {int(span[2])}"


def is_selector(parent: str) -> bool:
    """Whether what a job is to wait for is to be looked up as a selector, unless it is an exact id.

    `batch:NAME` is none: it stands for all of a batch, also for the jobs that are still to come. True for a selector
    that makes no sense, too: looking it up tells why.
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
        near = hint(f"@{given}", states, otherwise=f"expected one of {', '.join(states)}")
        raise BadParams(f"unknown state {text!r}{near}", key, _data(text, key)) from None


def _data(text: str, key: str) -> dict[str, Any]:
    return {"key": key, "id": text}
