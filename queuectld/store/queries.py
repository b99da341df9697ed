"""What can be asked of the store. Each answer is from one committed state."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

from queuectl_client.protocol.selectors import Criteria, Last
from queuectl_client.protocol.vocabulary import JobState
from queuectld.domain.job import Attempt, Job
from queuectld.store.reads import dependency_selectors, listings, ordering, point_queries, selectors
from queuectld.store.reads.thread import Reader
from queuectld.store.records import Busy, ListQuery, Page, PoolRow, QueueRow, ResolvedSelector, Rows, WorkerRow

T = TypeVar("T")


class Queries:
    """Reads, carried out one after the other by the reading thread; they hold up no write."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def get(self, seq: int) -> Job | None:
        """The job; None when there is none."""
        return await self._reader.submit(partial(point_queries.get, seq=seq))

    async def many(self, seqs: Sequence[int]) -> list[Job]:
        """Those of the jobs that are there, by number."""
        return await self._reader.submit(partial(point_queries.many, seqs=seqs))

    async def states(self, seqs: Sequence[int]) -> dict[int, JobState]:
        """How those of the jobs stand that are there, by number."""
        return await self._reader.submit(partial(point_queries.states, seqs=seqs))

    async def find_each(self, refs: Sequence[str]) -> list[int | None]:
        """The numbers of the jobs with exactly these ids, or else these numbers, in their order; None: no such job."""
        return await self._reader.submit(partial(selectors.find_each, references=refs))

    async def last_seq(self) -> int:
        """The number of the newest job that is there; 0 when there is none."""
        return await self._reader.submit(point_queries.last_seq)

    async def newest(self) -> int | None:
        """The number of the newest job that anybody can see; None when there is none."""
        return await self._reader.submit(selectors.newest)

    async def resolve_parents(self, selector: Last | Criteria) -> ResolvedSelector:
        """The jobs that a selector names to wait for, as far as there are any now; somewhat more than are allowed."""
        upto = await self.last_seq()
        seqs: list[int] = []
        after: int | None = 0
        while after is not None and len(seqs) <= dependency_selectors.MAX_PARENTS:
            look = partial(dependency_selectors.next_matches, selector=selector, upto=upto, after=after)
            found, after = await self._reader.submit(look)
            seqs += found
        return ResolvedSelector(selector, upto, seqs)

    async def page(self, query: ListQuery) -> Page:
        """The next jobs of a listing; it may be empty while `next` is set."""
        return await self._reader.submit(partial(listings.page, query=query))

    async def rows(self, query: ListQuery, keys: Sequence[str]) -> Rows:
        """These keys alone (of `attributes.KINDS`) of the next jobs of a listing; else as `page`."""
        return await self._reader.submit(partial(listings.rows, query=query, keys=keys))

    async def first_by(self, query: ListQuery, key: str, *, descending: bool) -> ListQuery:
        """The listing of the first of these jobs by a key, `limit` of them, in that order.

        All of them are looked at, in slices that keep nobody waiting.
        """
        best: list[ordering.Ranked] = []
        rest = replace(query, newest_first=False, after=None)
        while True:
            look = partial(ordering.slice_of, query=rest, key=key, descending=descending, count=query.limit)
            found, after = await self._reader.submit(look)
            best = ordering.first([*best, *found], descending, query.limit)
            if after is None:
                return replace(query, seqs=[seq for _, seq in best], newest_first=False)
            rest = replace(rest, after=after)

    async def attempts(self, seq: int) -> list[Attempt]:
        """The executions of a job that have ended, oldest first."""
        return await self._reader.submit(partial(point_queries.attempts, seq=seq))

    async def queues(self) -> list[QueueRow]:
        """All queues by name, with their counts."""
        return await self._reader.submit(point_queries.queues)

    async def processing(self) -> list[Busy]:
        """All processing jobs and who has them."""
        return await self._reader.submit(point_queries.processing)

    async def environment(self, number: int) -> Mapping[str, str]:
        """The environment a claim names. Raises LookupError when there is none."""
        return await self._reader.submit(partial(point_queries.environment, number=number))

    async def pools(self) -> list[PoolRow]:
        """All pools, oldest first."""
        return await self._reader.submit(point_queries.pools)

    async def workers(self) -> list[WorkerRow]:
        """All workers that have not ended, oldest first."""
        return await self._reader.submit(point_queries.workers)
