"""Filters of jobs by how and when they ended."""

from collections.abc import Mapping
from typing import Final

from queuectl_client.protocol import filters
from queuectl_client.protocol.attributes import ValueKind
from queuectl_client.protocol.filters import Comparison, Filter, Key, Not
from queuectl_client.protocol.operations import EndedFilter, JobPrune
from queuectl_client.protocol.vocabulary import ReasonCode
from queuectld.scheduler.jobs.selection import all_of

_REASON: Final = Key("reason", ValueKind.TEXT)
_REASON_CODE: Final = Key("reason_code", ValueKind.REASON)
_NUMBERED: Final[Mapping[str, Key]] = {
    ReasonCode.EXIT: Key("exit_code", ValueKind.NUMBER),
    ReasonCode.SIGNAL: Key("signal", ValueKind.SIGNAL),
}
"""Reason codes that may be followed by a number, and the key that holds it."""
_FINISHED: Final = Key("finished_at", ValueKind.TIME)


def ended_since(unix_ms: int) -> Filter:
    """Build the filter for jobs that ended at this wall time or later."""
    return Comparison(_FINISHED, ">=", (unix_ms,))


def ended_before(unix_ms: int) -> Filter:
    """Build the filter for jobs that ended at this wall time or earlier."""
    return Comparison(_FINISHED, "<=", (unix_ms,))


def with_reason(given: str) -> list[Filter]:
    """Build the filter for `reason`: a code, a code with its number (`exit 3`), or a prefix of the text."""
    word, _, number = given.partition(" ")
    if word in {*ReasonCode}:
        code = Comparison(_REASON_CODE, "=", (word,))
        if not number:
            return [code]
        if word in _NUMBERED and number.isdecimal():
            return [code, Comparison(_NUMBERED[word], "=", (min(int(number), 2**53),))]
    # The prefix must end at a word boundary: `dependency job_1` does not match `dependency job_12`.
    begin = "".join(f"[{letter}]" if letter in "*?[" else letter for letter in given)
    return [
        Comparison(_REASON, "~", (f"{begin}*",)),
        Not(Comparison(_REASON, "~", (f"{begin}[0-9A-Za-z]*",))),
    ]


def prunable(request: JobPrune, before_ms: int) -> Filter | None:
    """Build the filter for the jobs that are to be removed, of those that ended at `before_ms` or earlier."""
    state = Comparison(Key("state", ValueKind.STATE), "in", tuple(request.states))
    return all_of(state, ended_before(before_ms), *narrowed(request))


def narrowed(request: EndedFilter) -> list[Filter]:
    """Build the filters of a request."""
    parts: list[Filter] = []
    for key, value in (("queue", request.queue), ("batch", request.batch)):
        if value is not None:
            parts.append(Comparison(Key(key, ValueKind.TEXT), "=", (value,)))
    if request.since is not None:
        parts.append(ended_since(request.since))
    for label, value in (request.label or {}).items():
        parts.append(Comparison(Key("label", ValueKind.TEXT, label), "=", (value,)))
    if request.name is not None:
        parts.append(Comparison(Key("name", ValueKind.TEXT), "~", (request.name,)))
    if request.reason is not None:
        parts += with_reason(request.reason)
    if request.filter is not None:
        parts.append(filters.parse(request.filter))
    return parts
