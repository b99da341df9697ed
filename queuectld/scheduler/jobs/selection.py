"""From what a person names to jobs: ids, numbers and selectors.

An exact id wins, then a number means a seq, then a selector: `last`, `3-9`, `label:k=v`, `name:x*`, `batch:b`,
`@failed`, `all`.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from queuectl_client.protocol.filters import All, Comparison, Filter, Key
from queuectl_client.protocol.jobkeys import Kind
from queuectl_client.protocol.spelling import hint
from queuectl_client.protocol.vocabulary import ErrorCode, JobState
from queuectld.domain.errors import Refused
from queuectld.domain.job import Job
from queuectld.store.reads import selectors
from queuectld.store.reads.listings import ListQuery
from queuectld.store.store import Store

MAX_SELECTED: Final = 100_000
"""Jobs that are looked up for one call and held in memory; a verb that goes on in slices has no such limit."""
NAMES_A_QUESTION: Final = 1_000
SEQ: Final = Key("seq", Kind.NUMBER)
_RANGE: Final = re.compile(r"(\d{1,15})-(\d{1,15})", re.ASCII)
_FORMS: Final = {"label": "label:KEY=VALUE", "name": "name:GLOB", "batch": "batch:NAME"}


class Pick(NamedTuple):
    """A selector that stands for any number of jobs: those that pass the filter, from one seq to another."""

    where: Filter | None
    first: int = 0
    last: int | None = None


class Chosen(NamedTuple):
    """Jobs that were named, each by itself, in the order named; and selectors, in theirs."""

    named: list[int]
    picks: list[Pick]


async def choose(store: Store, refs: Sequence[str], *, again: bool = False) -> Chosen:
    """What the references stand for. Refused (not_found) for one that fits none; with `again` it has gone since."""
    named: dict[int, None] = {}
    picks: list[Pick] = []
    for start in range(0, len(refs), NAMES_A_QUESTION):
        some = refs[start : start + NAMES_A_QUESTION]
        for ref, seq in zip(some, await store.find_each(some), strict=True):
            if seq is None and ref == "last":
                seq = next(iter(await store.select("last", 1)), None)
                if seq is None and not again:
                    raise Refused(ErrorCode.NOT_FOUND, "there is no job yet", {"id": ref})
            if seq is not None:
                named[seq] = None
            elif (pick := pick_of(ref)) is not None:
                picks.append(pick)
            elif not again:
                raise Refused(ErrorCode.NOT_FOUND, f"there is no job {ref!r}", {"id": ref})
    return Chosen(list(named), picks)


async def one(store: Store, ref: str) -> int:
    """The seq of the job that `ref` names. Refused (not_found, or invalid_params when it names several)."""
    chosen = await choose(store, [ref])
    found = chosen.named or [seq for pick in chosen.picks for seq in await _few(store, pick, 2)]
    if not found:
        raise Refused(ErrorCode.NOT_FOUND, no_match([ref]), {"id": ref})
    if len(found) > 1:
        message = f"{ref!r} names several jobs, but exactly one is needed here"
        raise Refused(ErrorCode.INVALID_PARAMS, message, {"id": ref})
    return found[0]


async def plain_or_one(store: Store, ref: str) -> int | str:
    """An id or number as it is, for the store to look up where it is needed; else as `one`."""
    return ref if selectors.plain(ref) else await one(store, ref)


async def several(store: Store, refs: Sequence[str]) -> list[int]:
    """The seqs of all jobs named, each once, in the order named. Refused (not_found) for a name that fits none.

    A selector may fit none. Refused (too_large) for more than can be held.
    """
    chosen = await choose(store, refs)
    seqs = dict.fromkeys(chosen.named)
    for pick in chosen.picks:
        seqs.update(dict.fromkeys(await _few(store, pick, MAX_SELECTED + 1)))
        if len(seqs) > MAX_SELECTED:
            message = f"these are more than {MAX_SELECTED:,} jobs; name fewer, or list them by a filter"
            raise Refused(ErrorCode.TOO_LARGE, message)
    return list(seqs)


async def load(store: Store, seqs: Iterable[int]) -> list[Job]:
    """The jobs, in the order of `seqs`; those that are gone are left out."""
    wanted = list(seqs)
    by_seq = {job.seq: job for job in await store.many(wanted)}
    return [by_seq[seq] for seq in wanted if seq in by_seq]


def pick_of(ref: str) -> Pick | None:
    """What a selector stands for; None when it has not the form of one. Refused where it has, but makes no sense."""
    kind, colon, rest = ref.partition(":")
    if ref == "all":
        return Pick(None)
    if ref.startswith("@"):
        return Pick(Comparison(Key("state", Kind.STATE), "=", (_state(ref),)))
    if colon and kind in _FORMS:
        key, equals, value = rest.partition("=")
        if not rest or (kind == "label" and not (key and equals)):
            message = f"{ref!r} is no selector; it has the form {_FORMS[kind]}"
            raise Refused(ErrorCode.INVALID_PARAMS, message, {"key": "ids", "id": ref})
        if kind == "label":
            return Pick(Comparison(Key("label", Kind.TEXT, key), "=", (value,)))
        return Pick(Comparison(Key(kind, Kind.TEXT), "~" if kind == "name" else "=", (rest,)))
    span = _RANGE.fullmatch(ref)
    return None if span is None else Pick(None, int(span[1]), int(span[2]))


def both(*parts: Filter | None) -> Filter | None:
    """What passes all of these filters."""
    given = tuple(part for part in parts if part is not None)
    return All(given) if len(given) > 1 else next(iter(given), None)


def whole(pick: Pick) -> Filter:
    """All of a pick as one filter."""
    span: list[Filter] = [Comparison(SEQ, ">=", (pick.first,))]
    if pick.last is not None:
        span.append(Comparison(SEQ, "<=", (pick.last,)))
    return All(tuple(span) if pick.where is None else (pick.where, *span))


def no_match(refs: Sequence[str]) -> str:
    """The sentence for selectors that fit no job."""
    return f"no job matches {', '.join(map(repr, refs[:3]))}{' or the others' if len(refs) > 3 else ''}"


async def _few(store: Store, pick: Pick, limit: int) -> list[int]:
    """At most so many of the jobs of a pick, oldest first."""
    found: list[int] = []
    after: str | None = str(max(pick.first - 1, 0))
    while after is not None and len(found) < limit:
        query = ListQuery(where=pick.where, after=after, upto=pick.last, limit=limit - len(found))
        page = await store.rows(query, (SEQ.name,))
        found += [seq for (seq,) in page.rows]
        after = page.next
    return found


def _state(ref: str) -> str:
    given = ref[1:].lower()
    if given in {*JobState}:
        return given
    states = [f"@{state}" for state in JobState]
    near = hint(f"@{given}", states, otherwise=f"there are {', '.join(states)}")
    raise Refused(ErrorCode.INVALID_PARAMS, f"{ref!r} names no state{near}", {"key": "ids", "id": ref})
