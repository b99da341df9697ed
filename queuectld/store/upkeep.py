"""What the store does so that it does not grow for ever: old rows go, in slices that keep nobody waiting.

Also copies and checks of the whole. When something is old enough is for the scheduler to say.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from queuectl_client.protocol.vocabulary import JobState
from queuectld.domain.job import Now
from queuectld.store.mapping import files
from queuectld.store.questions import Questions
from queuectld.store.reads import invariants
from queuectld.store.reads.thread import Reader
from queuectld.store.records import Pruned
from queuectld.store.writer.session import Session
from queuectld.store.writer.thread import Writer
from queuectld.store.writes import housekeeping, removal

T = TypeVar("T")
SLICE: Final = 500
"""Jobs per commit where there may be many, so that no other request waits long."""


class Upkeep(Questions):
    """The part of the store that keeps it small and whole."""

    def __init__(self, path: Path, reader: Reader, writer: Writer, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(reader)
        self.path = path
        self._writer = writer
        self._loop = loop

    def _begin(self) -> None:
        """Start both threads. RuntimeError: there is no memory for one, or too many processes."""
        self._writer.start()
        self._reader.start()

    async def _end(self) -> None:
        """End both threads, once what waits is carried out."""
        stops = [self._reader.stop, self._writer.stop]
        if self._writer.is_broken:
            stops.reverse()
        for stop in stops:
            try:
                await self._loop.run_in_executor(None, stop)
            except RuntimeError:  # no thread can be started to wait in, and nobody needs the loop meanwhile
                stop()

    async def ended_jobs(self, after: int) -> tuple[int, list[tuple[int, JobState, int]]]:
        """Of the next jobs those that have ended: number, state, wall time. And the last number looked at; 0: none."""
        return await self.ask(partial(housekeeping.ended_jobs, after=after))

    async def prune_jobs(self, seqs: Sequence[int], before: Mapping[JobState, int], *, now: Now) -> Pruned:
        """Delete those that ended, in one of these states, before its wall time; at most SLICE of them at a time."""
        return await self._write(partial(removal.prune, seqs=seqs, before=before, now=now), weight=len(seqs))

    async def present(self, seqs: set[int]) -> set[int]:
        """Those of the jobs that are in the store."""
        return await self.ask(partial(housekeeping.present, seqs=seqs))

    async def oldest_request(self) -> int | None:
        """The wall time of the oldest answer that is kept for a repeat; None when there is none."""
        return await self.ask(housekeeping.oldest_request)

    async def prune_events(self, keep: int = 100_000) -> None:
        """Forget all events but the newest, in slices."""
        while await self._write(partial(housekeeping.prune_events, keep=keep), weight=housekeeping.SLICE):
            pass

    async def prune_requests(self, before_ms: int) -> None:
        """Forget the answers to requests made before a wall time, in slices."""
        while await self._write(partial(housekeeping.prune_requests, before_ms=before_ms), weight=housekeeping.SLICE):
            pass

    async def give_back(self) -> bool:
        """While nobody waits: give the file's free pages back to the disk, and empty the log.

        What was deleted is then in neither. False: somebody reads what the log holds; it is to be tried again.
        """
        while await self._writer.when_idle(housekeeping.give_back):
            pass
        return await self._writer.empty_log()

    async def backup(self, target: Path) -> None:
        """Let `target` be a whole copy of the store, readable by its owner alone. Raises FileExistsError."""
        await self._loop.run_in_executor(None, files.copy_of, self.path, target)

    async def integrity(self) -> list[str]:
        """What is wrong with the store: SQLite's own check, and what must always hold. Empty: nothing."""
        return await self.ask(invariants.findings)

    def _write(self, run: Callable[[Session], T], weight: int = 1) -> "asyncio.Future[T]":
        return self._writer.submit(run, weight)
