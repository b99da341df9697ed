"""Answers `job.wait`: whether the wait is over, how the jobs ended, and the jobs themselves in pages.

The set of jobs is cached, so that all pages are about the same jobs even if selectors would match others by then. The
cache is bounded; the oldest answer is evicted first.
"""

import secrets
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from typing import Final, NamedTuple

from queuectl_client.protocol.messages import JobWait
from queuectl_client.protocol.vocabulary import ErrorCode, JobState
from queuectld.domain.errors import Refused
from queuectld.domain.job import Job
from queuectld.domain.states import has_ended
from queuectld.scheduler.bus import Bus
from queuectld.scheduler.jobs import selection, waiting
from queuectld.scheduler.jobs.waiting import WaitCursor, WaitSet
from queuectld.store.records import ListQuery, Page, Rows
from queuectld.store.store import Store

MAX_CACHED_BYTES: Final = 8 * 1024 * 1024
"""Size of the cache: 25 million consecutive jobs, or 25,000 isolated ones."""
MAX_CACHED: Final = 1_000


class WaitOutcome(NamedTuple):
    """Whether the wait is over, the number of jobs by state, and the first job that failed."""

    done: bool
    counts: Mapping[JobState, int]
    first_failure: Job | None


class WaitPage(NamedTuple):
    """One answer: the outcome, a page of the jobs, and the cursor of the next page."""

    ends: WaitOutcome
    page: Page | Rows
    next: str | None


class _CachedAnswer(NamedTuple):
    """An answer with more pages."""

    ends: WaitOutcome
    wait_set: WaitSet
    bytes: int


NO_PAGE: Final = Page([], None)


class WaitService:
    """Implements `job.wait`."""

    def __init__(self, store: Store, bus: Bus) -> None:
        self._store = store
        self._bus = bus
        self._cache: OrderedDict[str, _CachedAnswer] = OrderedDict()
        self._cached_bytes = 0

    async def wait(self, request: JobWait) -> WaitPage:
        """Return the first page once all jobs (`any`: one of them) have ended, or after `timeout` seconds.

        Without ids, waits until no job is ready, failed or processing. With `after`, returns the next page at once.
        """
        if request.after is not None:
            return await self._next_page(request, request.after)
        if request.ids is None:
            done = await waiting.until_idle(self._store, self._bus, timeout=request.timeout)
            return WaitPage(WaitOutcome(done, dict.fromkeys(JobState, 0), None), NO_PAGE, None)
        wait = await waiting.for_jobs(self._store, self._bus, request.ids, request.timeout)
        try:
            wait_set = wait.wait_set
            if not len(wait_set) and not wait.may_be_empty:
                raise Refused(ErrorCode.NOT_FOUND, selection.no_match(request.ids), {"ids": list(request.ids[:3])})
            # Free the names: they may take megabytes, and the wait may last days.
            request = replace(request, ids=None)
            done = await wait.over(any_one=request.any)
        finally:
            wait.close()
        ends = WaitOutcome(done, await waiting.counts(self._store, wait_set), await self._first_failure(wait_set))
        return await self._page(request, ends, wait_set, WaitCursor(), None)

    async def _next_page(self, request: JobWait, after: str) -> WaitPage:
        token, part, number = (*after.split("."), "", "")[:3]
        if not (part.isascii() and part.isdigit() and number.isascii() and number.isdigit()):
            message = f"invalid after: {after[:60]!r}; expected the `next` of an answer"
            raise Refused(ErrorCode.INVALID_PARAMS, message, {"key": "after"})
        kept = self._cache.get(token)
        if kept is None:
            message = "the jobs of this answer are no longer kept, after a restart or many other answers; wait again"
            raise Refused(ErrorCode.GONE, message, {"key": "after"})
        self._cache.move_to_end(token)
        cursor = WaitCursor(int(part), int(number))
        return await self._page(request, kept.ends, kept.wait_set, cursor, token)

    async def _first_failure(self, wait_set: WaitSet) -> Job | None:
        # Skip jobs that were removed or retried since, and give up after the first few.
        for seq in islice(wait_set.failures(), waiting.SLICE):
            job = await self._store.queries.get(seq)
            if job is not None and has_ended(job.state) and job.state is not JobState.COMPLETED:
                return job
        return None

    async def _page(
        self, request: JobWait, ends: WaitOutcome, wait_set: WaitSet, cursor: WaitCursor, token: str | None
    ) -> WaitPage:
        """Return the page after a cursor. `token`: that of the answer if it is cached already."""
        ahead = list(islice(wait_set.order(cursor), request.limit + 1))
        some = ahead[: request.limit]
        page: Page | Rows = NO_PAGE
        if some:
            query = ListQuery(seqs=[seq for _, seq in some], limit=request.limit)
            if request.keys:
                page = await self._store.queries.rows(query, request.keys)
            else:
                page = await self._store.queries.page(query)
            # The page may cover fewer jobs: it is limited in size, and removed jobs are skipped.
            looked_at = len(some) if page.next is None else int(page.next)
            cursor = some[looked_at - 1][0]
            some = some[:looked_at]
        if len(some) == len(ahead):
            return WaitPage(ends, page, None)
        if token is None:
            token = self._cache_answer(ends, wait_set)
        return WaitPage(ends, page, f"{token}.{cursor.part}.{cursor.after}")

    def _cache_answer(self, ends: WaitOutcome, wait_set: WaitSet) -> str:
        token = secrets.token_hex(8)
        kept = self._cache[token] = _CachedAnswer(ends, wait_set, wait_set.bytes)
        self._cached_bytes += kept.bytes
        while len(self._cache) > MAX_CACHED or (self._cached_bytes > MAX_CACHED_BYTES and len(self._cache) > 1):
            self._cached_bytes -= self._cache.popitem(last=False)[1].bytes
        return token
