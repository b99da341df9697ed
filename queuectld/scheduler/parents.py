"""What selectors among `depends_on` name: the first look, before the jobs go to the store."""

from collections.abc import Iterable
from functools import partial

from queuectl_client.protocol.jobspec import JobSpec
from queuectld.store import several
from queuectld.store.several import MOST_PARENTS, Seen, SeenBy
from queuectld.store.store import Store


async def first_look(store: Store, specs: Iterable[JobSpec]) -> SeenBy:
    """What each selector that these jobs name their parents by stands for now; the store adds what comes meanwhile."""
    selectors = {
        reference
        for spec in specs
        if spec.depends_on is not None
        for reference, _ in spec.depends_on
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
