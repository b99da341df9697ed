"""What selectors among `depends_on` name: the first look, before the jobs go to the store."""

from collections.abc import Iterable, Sequence

from queuectl_client.protocol.selectors import One, is_selector
from queuectld.scheduler.jobs.selection import parse
from queuectld.store.records import ResolvedSelector, ResolvedSelectors
from queuectld.store.store import Store

Parents = Sequence[tuple[str, str]]
"""Pairs of a reference and how it is to end."""


async def first_look(store: Store, parents: Iterable[Parents | None]) -> ResolvedSelectors:
    """What each selector among the parents of some jobs stands for now; the store adds what comes meanwhile.

    Refused (invalid_params) for one that makes no sense.
    """
    references = {reference for each in parents if each is not None for reference, _ in each}
    seen: dict[str, ResolvedSelector] = {}
    for reference in sorted(filter(is_selector, references)):
        selector = parse(reference, "depends_on")
        if not isinstance(selector, One):
            seen[reference] = await store.queries.resolve_parents(selector)
    return seen
