"""Resolves selectors in `depends_on` before the jobs are stored."""

from collections.abc import Iterable, Sequence

from queuectl_client.protocol.selectors import One, is_selector
from queuectld.scheduler.jobs.selection import parse
from queuectld.store.records import ResolvedSelector, ResolvedSelectors
from queuectld.store.store import Store

Parents = Sequence[tuple[str, str]]
"""Pairs of a reference and the required end of that job."""


async def first_look(store: Store, parents: Iterable[Parents | None]) -> ResolvedSelectors:
    """Resolve the selectors among the parents of some jobs; the store adds jobs that arrive meanwhile.

    Raises Refused (invalid_params) for an invalid selector.
    """
    references = {reference for each in parents if each is not None for reference, _ in each}
    seen: dict[str, ResolvedSelector] = {}
    for reference in sorted(filter(is_selector, references)):
        selector = parse(reference, "depends_on")
        if not isinstance(selector, One):
            seen[reference] = await store.queries.resolve_parents(selector)
    return seen
