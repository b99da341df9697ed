"""Reads of the store. Each result is from one committed state."""

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
    """Reads, run one after the other on the reader thread; they do not block writes."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def get(self, seq: int) -> Job | None:
        """Return a job; None if there is none."""
        return await self._reader.submit(partial(point_queries.get, seq=seq))

    async def many(self, seqs: Sequence[int]) -> list[Job]:
        """Return the jobs that exist, ordered by number."""
        return await self._reader.submit(partial(point_queries.many, seqs=seqs))

    async def states(self, seqs: Sequence[int]) -> dict[int, JobState]:
        """Return the states of the jobs that exist, by number."""
        return await self._reader.submit(partial(point_queries.states, seqs=seqs))

    async def find_each(self, refs: Sequence[str]) -> list[int | None]:
        """Return the numbers of the jobs with these ids or else these numbers, in order; None: no such job."""
        return await self._reader.submit(partial(selectors.find_each, references=refs))

    async def last_seq(self) -> int:
        """Return the number of the newest job; 0 if there is none."""
        return await self._reader.submit(point_queries.last_seq)

    async def newest(self) -> int | None:
        """Return the number of the newest visible job; None if there is none."""
        return await self._reader.submit(selectors.newest)

    async def resolve_parents(self, selector: Last | Criteria) -> ResolvedSelector:
        """Return the jobs that a selector among `depends_on` matches now; slightly more than are allowed."""
        upto = await self.last_seq()
        seqs: list[int] = []
        after: int | None = 0
        while after is not None and len(seqs) <= dependency_selectors.MAX_PARENTS:
            look = partial(dependency_selectors.next_matches, selector=selector, upto=upto, after=after)
            found, after = await self._reader.submit(look)
            seqs += found
        return ResolvedSelector(selector, upto, seqs)

    async def page(self, query: ListQuery) -> Page:
        """Return a page of a listing; it may be empty while `next` is set."""
        return await self._reader.submit(partial(listings.page, query=query))

    async def rows(self, query: ListQuery, keys: Sequence[str]) -> Rows:
        """Like `page`, with only these keys (of `attributes.KINDS`) of each job."""
        return await self._reader.submit(partial(listings.rows, query=query, keys=keys))

    async def first_by(self, query: ListQuery, key: str, *, descending: bool) -> ListQuery:
        """Return a query for the first `limit` of these jobs by a key, in that order.

        Reads all of them, in short slices.
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
        """Return the ended executions of a job, oldest first."""
        return await self._reader.submit(partial(point_queries.attempts, seq=seq))

    async def queues(self) -> list[QueueRow]:
        """Return all queues by name, with their counts."""
        return await self._reader.submit(point_queries.queues)

    async def processing(self) -> list[Busy]:
        """Return all processing jobs with their workers."""
        return await self._reader.submit(point_queries.processing)

    async def environment(self, number: int) -> Mapping[str, str]:
        """Return the environment of this number. Raises LookupError if there is none."""
        return await self._reader.submit(partial(point_queries.environment, number=number))

    async def pools(self) -> list[PoolRow]:
        """Return all pools, oldest first."""
        return await self._reader.submit(point_queries.pools)

    async def workers(self) -> list[WorkerRow]:
        """Return all workers that have not ended, oldest first."""
        return await self._reader.submit(point_queries.workers)
