"""What selectors among `depends_on` name: the first look, before the jobs go to the store."""

from collections.abc import Iterable, Sequence
from functools import partial

from queuectld.store.reads import dependency_selectors
from queuectld.store.reads.dependency_selectors import MOST_PARENTS, Seen, SeenBy
from queuectld.store.store import Store

Parents = Sequence[tuple[str, str]]
"""Pairs of a reference and how it is to end."""


async def first_look(store: Store, parents: Iterable[Parents | None]) -> SeenBy:
    """What each selector among the parents of some jobs stands for now; the store adds what comes meanwhile."""
    selectors = {
        reference
        for each in parents
        if each is not None
        for reference, _ in each
        if dependency_selectors.is_selector(reference)
    }
    return {selector: await _seen(store, selector) for selector in sorted(selectors)}


async def _seen(store: Store, selector: str) -> Seen:
    upto = await store.last_seq()
    seqs: list[int] = []
    after: int | None = 0
    while after is not None and len(seqs) <= MOST_PARENTS:
        look = partial(dependency_selectors.first_look, selector=selector, upto=upto, after=after)
        found, after = await store.ask(look)
        seqs += found
    return Seen(upto, seqs)
