"""What a call that waits is answered: whether it is over, how the jobs ended, and the jobs themselves, in pages.

Which jobs an answer is about is kept for a while, so that its other pages are about the same ones: selectors may stand
for others by then. What is kept is bounded, and the oldest goes first.
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
from queuectld.scheduler.jobs.waiting import Awaited, Place
from queuectld.store.records import ListQuery, Page, Rows
from queuectld.store.store import Store

MOST_KEPT_BYTES: Final = 8 * 1024 * 1024
"""Of answers that have more pages: 25 million jobs that follow one another, or 25,000 that each lie alone."""
MOST_KEPT: Final = 1_000


class Ends(NamedTuple):
    """Whether a wait is over, how many jobs are in which state, and the first that has ended and not well."""

    done: bool
    counts: Mapping[JobState, int]
    first_failure: Job | None


class Waited(NamedTuple):
    """One answer: how it stands, a page of the jobs, and where the next one begins."""

    ends: Ends
    page: Page | Rows
    next: str | None


class _Kept(NamedTuple):
    """An answer of which there are more pages."""

    ends: Ends
    awaited: Awaited
    bytes: int


NO_PAGE: Final = Page([], None)


class Waits:
    """Waits for jobs, and tells of their ends."""

    def __init__(self, store: Store, bus: Bus) -> None:
        self._store = store
        self._bus = bus
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._kept_bytes = 0

    async def wait(self, wanted: JobWait) -> Waited:
        """The first page, once each of the jobs (`any`: one of them) has ended, or `timeout` seconds are over.

        Without ids until nothing is ready, failed or processing. With `after` the page that follows, at once.
        """
        if wanted.after is not None:
            return await self._following(wanted, wanted.after)
        if wanted.ids is None:
            done = await waiting.for_quiet(self._store, self._bus, timeout=wanted.timeout)
            return Waited(Ends(done, dict.fromkeys(JobState, 0), None), NO_PAGE, None)
        wait = await waiting.for_jobs(self._store, self._bus, wanted.ids)
        try:
            awaited = wait.awaited
            if not len(awaited) and not wait.may_be_empty:
                raise Refused(ErrorCode.NOT_FOUND, selection.no_match(wanted.ids), {"ids": list(wanted.ids[:3])})
            # The names may be megabytes, and what is waited for may take days.
            wanted = replace(wanted, ids=None)
            done = await wait.over(any_one=wanted.any, timeout=wanted.timeout)
        finally:
            wait.close()
        ends = Ends(done, await waiting.counts(self._store, awaited), await self._first_failure(awaited))
        return await self._told(wanted, ends, awaited, Place(), None)

    async def _following(self, wanted: JobWait, after: str) -> Waited:
        token, part, number = (*after.split("."), "", "")[:3]
        if not (part.isascii() and part.isdigit() and number.isascii() and number.isdigit()):
            raise Refused(ErrorCode.INVALID_PARAMS, f"{after[:60]!r} is not the `next` of an answer", {"key": "after"})
        kept = self._kept.get(token)
        if kept is None:
            message = "the jobs of this answer are no longer kept, after a restart or many other answers; wait again"
            raise Refused(ErrorCode.GONE, message, {"key": "after"})
        self._kept.move_to_end(token)
        place = Place(int(part), int(number))
        return await self._told(wanted, kept.ends, kept.awaited, place, token)

    async def _first_failure(self, awaited: Awaited) -> Job | None:
        # One that was removed or retried since is none; where all are, the first few say enough.
        for seq in islice(awaited.failures(), waiting.SLICE):
            job = await self._store.queries.get(seq)
            if job is not None and has_ended(job.state) and job.state is not JobState.COMPLETED:
                return job
        return None

    async def _told(self, wanted: JobWait, ends: Ends, awaited: Awaited, place: Place, token: str | None) -> Waited:
        """The page after a place. `token`: of an answer that is kept already."""
        ahead = list(islice(awaited.order(place), wanted.limit + 1))
        some = ahead[: wanted.limit]
        page: Page | Rows = NO_PAGE
        if some:
            query = ListQuery(seqs=[seq for _, seq in some], limit=wanted.limit)
            if wanted.keys:
                page = await self._store.queries.rows(query, wanted.keys)
            else:
                page = await self._store.queries.page(query)
            # So many were looked at: those that are gone were passed over, and a page is full at some size.
            looked_at = len(some) if page.next is None else int(page.next)
            place = some[looked_at - 1][0]
            some = some[:looked_at]
        if len(some) == len(ahead):
            return Waited(ends, page, None)
        if token is None:
            token = self._keep(ends, awaited)
        return Waited(ends, page, f"{token}.{place.part}.{place.after}")

    def _keep(self, ends: Ends, awaited: Awaited) -> str:
        token = secrets.token_hex(8)
        kept = self._kept[token] = _Kept(ends, awaited, awaited.bytes)
        self._kept_bytes += kept.bytes
        while len(self._kept) > MOST_KEPT or (self._kept_bytes > MOST_KEPT_BYTES and len(self._kept) > 1):
            self._kept_bytes -= self._kept.popitem(last=False)[1].bytes
        return token
