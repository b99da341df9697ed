"""What selectors among `depends_on` name: the first look, before the jobs go to the store."""

from collections.abc import Iterable, Sequence
from functools import partial

from queuectld.store import several
from queuectld.store.several import MOST_PARENTS, Seen, SeenBy
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
        if several.is_selector(reference)
    }
    return {selector: await _seen(store, selector) for selector in sorted(selectors)}


async def _seen(store: Store, selector: str) -> Seen:
    upto = await store.last_seq()
    seqs: list[int] = []
    after: int | None = 0
    while after is not None and len(seqs) <= MOST_PARENTS:
        found, after = await store.ask(partial(several.first_look, selector=selector, upto=upto, after=after))
        seqs += found
    return Seen(upto, seqs)
