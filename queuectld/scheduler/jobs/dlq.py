"""The dead letter queue: list, retry and purge dead jobs."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from queuectl_client.protocol.attributes import ValueKind
from queuectl_client.protocol.filters import Comparison, Filter, Key
from queuectl_client.protocol.messages import DlqList, DlqPurge, DlqRetry
from queuectl_client.protocol.operations import DeadFilter, DeadJobs
from queuectl_client.protocol.permits import JobAction
from queuectl_client.protocol.selectors import Criteria
from queuectl_client.protocol.vocabulary import JobState
from queuectld.domain.rate import Rate, read_rate, spacing_ms
from queuectld.scheduler.clock import Clock
from queuectld.scheduler.jobs import editing
from queuectld.scheduler.jobs.bulk import BulkCursor, BulkExecutor, BulkResult
from queuectld.scheduler.jobs.criteria import ended_before, narrowed
from queuectld.scheduler.jobs.selection import all_of
from queuectld.scheduler.settings import ConfigService
from queuectld.store.records import ActionResult, ListQuery, Page
from queuectld.store.store import Store

DEAD: Final = Comparison(Key("state", ValueKind.STATE), "=", (str(JobState.DEAD),))


class DlqService:
    """Methods on dead jobs. Raise Refused (wrong_state) for a named job that is not dead, (not_found) if unknown."""

    def __init__(
        self, store: Store, clock: Clock, config: ConfigService, remove_files: Callable[[Sequence[str]], None]
    ) -> None:
        self._store = store
        self._clock = clock
        self._config = config
        self._remove_files = remove_files
        self._bulk = BulkExecutor(store, clock)

    async def list(self, request: DlqList) -> Page:
        """Return one page of dead jobs, oldest first."""
        now_ms = self._clock.now().wall_ms
        query = ListQuery(where=_dead(request), now_ms=now_ms, after=request.after, limit=request.limit)
        return await self._store.queries.page(query)

    async def retry(self, request: DlqRetry) -> BulkResult:
        """Make dead jobs pending again with zero attempts, keeping their history; with `rate`, spaced in time."""
        rate = None if request.rate == "none" else read_rate(request.rate)
        how: dict[str, Any] = {}
        if request.changes:
            how["changes"] = editing.stored_changes(request.changes, self._config.value)

        async def act(seqs: Sequence[int], cursor: BulkCursor, picked: bool) -> ActionResult:
            delay = None if rate is None else partial(_spaced, rate, cursor.done)
            # Delays count from the start of the operation, across slices and calls.
            now = self._clock.now() if rate is None else cursor.since
            spaced = {**how, "delay_ms": delay}
            return await self._store.apply(
                JobAction.DLQ_RETRY, seqs, now=now, picked=picked, brief=request.brief, how=spaced
            )  # fmt: skip

        return await self._each(JobAction.DLQ_RETRY, request, act)

    async def purge(self, request: DlqPurge) -> BulkResult:
        """Remove dead jobs with their attempts and output."""
        before_ms = None
        if request.older_than is not None:
            before_ms = self._clock.now().wall_ms - round(request.older_than * 1000)

        async def act(seqs: Sequence[int], _: BulkCursor, picked: bool) -> ActionResult:
            now = self._clock.now()
            done = await self._store.apply(JobAction.DLQ_PURGE, seqs, now=now, picked=picked, brief=request.brief)
            self._remove_files(done.files)
            return done

        return await self._each(JobAction.DLQ_PURGE, request, act, before_ms)

    async def _each(self, verb: JobAction, request: DeadJobs, act: Any, before_ms: int | None = None) -> BulkResult:
        old = None if before_ms is None else ended_before(before_ms)
        if request.ids is None:
            return await self._bulk.apply(verb, (), request, act, listing=Criteria(all_of(_dead(request), old)))
        return await self._bulk.apply(verb, request.ids, request, act, condition=old)


def _dead(request: DeadFilter) -> Filter:
    """Build the filter of a request from its parameters."""
    whole = all_of(DEAD, *narrowed(request))
    assert whole is not None
    return whole


def _spaced(rate: Rate, before: int, index: int) -> int:
    return spacing_ms(rate, before + index)


def remove_log_files(folder: Path, files: Sequence[str]) -> None:
    """Delete log files given relative to `folder`; missing ones are ignored."""
    for name in files:
        (folder / name).unlink(missing_ok=True)
