"""The dead letter queue: looking at what gave up, running it again, throwing it away."""

from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path

from queuectl_client.protocol.messages import DlqList, DlqPurge, DlqRetry
from queuectl_client.protocol.vocabulary import ErrorCode, JobState
from queuectld.domain.errors import Refused
from queuectld.domain.job import Job
from queuectld.domain.rate import Rate, read_rate, spacing_ms
from queuectld.scheduler import selection
from queuectld.scheduler.clock import Clock
from queuectld.store.queries import ListQuery
from queuectld.store.records import Page
from queuectld.store.store import Store

SLICE = 500
"""Jobs changed in one request to the store, so that others get their turn in between."""


class DlqService:
    """Verbs on dead jobs. A job that is not dead is refused (wrong_state), an unknown one too (not_found)."""

    def __init__(self, store: Store, clock: Clock, remove_files: Callable[[Sequence[str]], None]) -> None:
        self._store = store
        self._clock = clock
        self._remove_files = remove_files

    async def list(self, wanted: DlqList) -> Page:
        """One page of dead jobs, oldest first."""
        return await self._page(after=wanted.after, limit=wanted.limit)

    async def retry(self, wanted: DlqRetry) -> Sequence[Job]:
        """Dead jobs back to pending with no attempts counted; their history stays. At a rate: one after the other."""
        rate = read_rate(wanted.rate)
        now = self._clock.now()
        retried: list[Job] = []
        async for seqs in self._slices(wanted.ids, every=wanted.all):
            delay = None if rate is None else partial(_spaced, rate, len(retried))
            retried += await self._store.dlq_retry(seqs, now=now, delay_ms=delay)
        return retried

    async def purge(self, wanted: DlqPurge) -> Sequence[Job]:
        """Dead jobs removed for good, with their attempts and output."""
        now = self._clock.now()
        before_ms = None if wanted.older_than is None else now.wall_ms - round(wanted.older_than * 1000)
        purged: list[Job] = []
        async for seqs in self._slices(wanted.ids, every=wanted.all, before_ms=before_ms):
            removed = await self._store.dlq_purge(seqs, now=now)
            self._remove_files(removed.files)
            purged += removed.jobs
        return purged

    async def _slices(
        self, refs: Sequence[str] | None, *, every: bool, before_ms: int | None = None
    ) -> AsyncIterator[Sequence[int]]:
        if not every:
            seqs = await selection.several(self._store, refs or [])
            await self._refuse_living(seqs)
            chosen = await selection.load(self._store, seqs)
            yield [job.seq for job in chosen if _is_old(job, before_ms)]
            return
        after: str | None = None
        while True:
            page = await self._page(after=after, limit=SLICE)
            seqs = [job.seq for job in page.jobs if _is_old(job, before_ms)]
            if seqs:
                yield seqs
            if page.next is None:
                return
            after = page.next

    async def _refuse_living(self, seqs: Sequence[int]) -> None:
        for job in await selection.load(self._store, seqs):
            if job.state is not JobState.DEAD:
                message = f"{job.id} is not in the dead letter queue: it is {job.state}"
                raise Refused(ErrorCode.WRONG_STATE, message, {"id": job.id, "state": str(job.state)})

    async def _page(self, *, after: str | None, limit: int) -> Page:
        return await self._store.page(ListQuery(states=frozenset({JobState.DEAD}), after=after, limit=limit))


def _spaced(rate: Rate, before: int, index: int) -> int:
    return spacing_ms(rate, before + index)


def _is_old(job: Job, before_ms: int | None) -> bool:
    return before_ms is None or (job.finished_ms is not None and job.finished_ms <= before_ms)


def remove_log_files(folder: Path, files: Sequence[str]) -> None:
    """Delete log files named relative to `folder`; those already gone are fine."""
    for name in files:
        (folder / name).unlink(missing_ok=True)
