"""Keeping the store small: old rows are deleted in short slices.

The scheduler decides what is old enough.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from typing import Final

from queuectl_client.protocol.vocabulary import JobState
from queuectld.domain.job import Now
from queuectld.store.mapping import memory
from queuectld.store.reads.thread import Reader
from queuectld.store.records import Pruned
from queuectld.store.writer.thread import Writer
from queuectld.store.writes import housekeeping, removal

SLICE: Final = 500
"""Jobs per commit where there may be many, so that no other request waits long."""


class Upkeep:
    """Keeps the store small."""

    def __init__(self, reader: Reader, writer: Writer) -> None:
        self._reader = reader
        self._writer = writer

    async def ended_jobs(self) -> AsyncIterator[list[tuple[int, JobState, int]]]:
        """Yield all ended jobs in slices: number, state, wall time."""
        after = 0
        while True:
            after, ended = await self._reader.submit(partial(housekeeping.ended_jobs, after=after))
            yield ended
            if not after:
                return

    async def prune_jobs(
        self, seqs: Sequence[int], before: Mapping[JobState, int], *, now: Now
    ) -> AsyncIterator[Pruned]:
        """Delete jobs that ended in one of these states before its wall time. Yields the result of each commit."""
        for start in range(0, len(seqs), SLICE):
            some = seqs[start : start + SLICE]
            prune = partial(removal.prune, seqs=some, before=before, now=now)
            yield await self._writer.submit_bulk(prune, weight=len(some))

    async def present(self, seqs: set[int]) -> set[int]:
        """Return the jobs that are in the store."""
        return await self._reader.submit(partial(housekeeping.present, seqs=seqs))

    async def oldest_request(self) -> int | None:
        """Return the wall time of the oldest answer kept; None if there is none."""
        return await self._reader.submit(housekeeping.oldest_request)

    async def prune_events(self, keep: int = 100_000) -> None:
        """Delete all events but the newest, in slices."""
        while await self._writer.submit_bulk(partial(housekeeping.prune_events, keep=keep), weight=housekeeping.SLICE):
            pass

    async def prune_requests(self, before_ms: int) -> None:
        """Delete the answers to requests made before a wall time, in slices."""
        while await self._writer.submit_bulk(
            partial(housekeeping.prune_requests, before_ms=before_ms), weight=housekeeping.SLICE
        ):
            pass

    async def free_memory(self) -> None:
        """Return unused memory to the system, on both threads of the store once no request waits."""
        await self._reader.submit(memory.free)
        await self._writer.when_idle(lambda session: memory.free(session.connection))

    async def give_back(self) -> bool:
        """Give the file's free pages back to the disk and truncate the log, while no request waits.

        Afterwards neither contains deleted data. Returns False if a reader still uses the log; try again later.
        """
        while await self._writer.when_idle(housekeeping.give_back):
            pass
        return await self._writer.empty_log()
