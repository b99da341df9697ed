"""Resolves references to jobs: first as an exact id, then as a number, then as a selector (`protocol.selectors`)."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from queuectl_client.protocol import selectors
from queuectl_client.protocol.attributes import ValueKind
from queuectl_client.protocol.checks import BadParams
from queuectl_client.protocol.filters import All, Comparison, Filter, Key
from queuectl_client.protocol.selectors import Criteria, Last, One, Selector
from queuectl_client.protocol.vocabulary import ErrorCode
from queuectld.domain.errors import Refused
from queuectld.domain.job import Job
from queuectld.store.records import ListQuery
from queuectld.store.store import Store

MAX_SELECTED: Final = 100_000
"""Jobs selected by one call and held in memory; bulk operations work in slices and have no such limit."""
NAMES_PER_QUERY: Final = 1_000
SEQ: Final = Key("seq", ValueKind.NUMBER)


class Selection(NamedTuple):
    """Jobs named by id or number, and selectors, each in the order given."""

    named: list[int]
    selectors: list[Criteria]


async def resolve(store: Store, refs: Sequence[str], *, ignore_missing: bool = False) -> Selection:
    """Resolve references to jobs and selectors.

    Raises Refused (not_found) for an id or number that no job has; `ignore_missing` skips it.
    """
    named: dict[int, None] = {}
    selectors: list[Criteria] = []
    for start in range(0, len(refs), NAMES_PER_QUERY):
        batch = refs[start : start + NAMES_PER_QUERY]
        for ref, seq in zip(batch, await store.queries.find_each(batch), strict=True):
            if seq is None:
                selector = parse(ref)
                if isinstance(selector, Criteria):
                    selectors.append(selector)
                    continue
                seq = await store.queries.newest() if isinstance(selector, Last) else None
                if seq is None and ignore_missing:
                    continue
                if seq is None:
                    raise Refused(ErrorCode.NOT_FOUND, f"no such job: {ref!r}", {"id": ref})
            named[seq] = None
    return Selection(list(named), selectors)


async def resolve_one(store: Store, ref: str) -> int:
    """Return the seq of the job that `ref` names. Raises Refused (not_found; invalid_params for several jobs)."""
    selected = await resolve(store, [ref])
    found = selected.named or [seq for selector in selected.selectors for seq in await _first_seqs(store, selector, 2)]
    if not found:
        raise Refused(ErrorCode.NOT_FOUND, no_match([ref]), {"id": ref})
    if len(found) > 1:
        message = f"{ref!r} matches several jobs; expected exactly one"
        raise Refused(ErrorCode.INVALID_PARAMS, message, {"id": ref})
    return found[0]


async def id_or_seq(store: Store, ref: str) -> int | str:
    """Return an id or number unchanged, to be looked up by the store; resolve anything else to a seq."""
    return ref if isinstance(parse(ref), One) else await resolve_one(store, ref)


async def resolve_all(store: Store, refs: Sequence[str]) -> list[int]:
    """Return the seqs of all jobs, each once, in the order named.

    A selector may match no job. Raises Refused (not_found) for an unknown id, (too_large) above MAX_SELECTED jobs.
    """
    selected = await resolve(store, refs)
    seqs = dict.fromkeys(selected.named)
    for selector in selected.selectors:
        seqs.update(dict.fromkeys(await _first_seqs(store, selector, MAX_SELECTED + 1)))
        if len(seqs) > MAX_SELECTED:
            message = f"more than {MAX_SELECTED:,} jobs; name fewer, or use a filter"
            raise Refused(ErrorCode.TOO_LARGE, message)
    return list(seqs)


async def load(store: Store, seqs: Iterable[int]) -> list[Job]:
    """Return the jobs, in the order of `seqs`, without those that were removed."""
    wanted = list(seqs)
    by_seq = {job.seq: job for job in await store.queries.many(wanted)}
    return [by_seq[seq] for seq in wanted if seq in by_seq]


def parse(ref: str, key: str = "ids") -> Selector:
    """Parse a reference that is not an exact id. Raises Refused (invalid_params)."""
    try:
        return selectors.parse(ref, key)
    except BadParams as bad:
        raise Refused(ErrorCode.INVALID_PARAMS, bad.message, bad.data) from None


def all_of(*parts: Filter | None) -> Filter | None:
    """Return the conjunction of these filters, or None if there is none."""
    given = tuple(part for part in parts if part is not None)
    return All(given) if len(given) > 1 else next(iter(given), None)


def as_filter(selector: Criteria) -> Filter:
    """All of a pick as one filter."""
    span: list[Filter] = [Comparison(SEQ, ">=", (selector.first,))]
    if selector.last is not None:
        span.append(Comparison(SEQ, "<=", (selector.last,)))
    return All(tuple(span) if selector.where is None else (selector.where, *span))


def no_match(refs: Sequence[str]) -> str:
    """Return the error message for selectors that match no job."""
    return f"no job matches {', '.join(map(repr, refs[:3]))}{' or the others' if len(refs) > 3 else ''}"


async def _first_seqs(store: Store, selector: Criteria, limit: int) -> list[int]:
    """At most so many of the jobs of a pick, oldest first."""
    found: list[int] = []
    after: str | None = str(max(selector.first - 1, 0))
    while after is not None and len(found) < limit:
        query = ListQuery(where=selector.where, after=after, upto=selector.last, limit=limit - len(found))
        page = await store.queries.rows(query, (SEQ.name,))
        found += [seq for (seq,) in page.rows]
        after = page.next
    return found
