"""Adding jobs to the store: in one commit, or in slices that are hidden until all are stored."""

import asyncio
import contextlib
import uuid
from collections.abc import Coroutine, Iterator, Sequence
from functools import partial
from typing import Any, Final

from queuectl_client.protocol.vocabulary import ErrorCode
from queuectld import failpoints
from queuectld.domain.errors import Refused
from queuectld.domain.job import NewJob, Now
from queuectld.store.records import FEW, Added, AddedOne, AddedSummary, ResolvedSelector
from queuectld.store.writer.thread import Writer
from queuectld.store.writes import idempotency, many_parents, uploads

BULK: Final = 1_000
"""Effort of a request stored in one commit; more becomes an upload. A plain job is 1: see `effort`."""
SLICE: Final = 500
"""Effort of one slice of an upload, and jobs of a discarded one deleted in one commit: about 9 ms."""
KEY_EFFORT: Final = 2
PARENT_EFFORT: Final = 5
"""What a key and a parent add to the effort of a job."""


class Intake:
    """Adds new jobs."""

    def __init__(self, writer: Writer, loop: asyncio.AbstractEventLoop) -> None:
        self._writer = writer
        self._loop = loop
        self._clearing: set[asyncio.Task[None]] = set()

    async def settle(self) -> None:
        """Wait until uploads discarded in the background are deleted."""
        for task in list(self._clearing):
            await asyncio.wait([task])

    async def add(self, new: NewJob, *, now: Now, request: str | None = None) -> AddedOne:
        """Store a job. Refused (conflict) if its id or unique key is taken; `skip` returns the holder of the key.

        A repeat of `request` stores nothing and returns the same job.
        """
        many = {name: found for name, found in new.resolved.items() if len(found.seqs) > many_parents.AT_ONCE}
        # A unique key and a batch that could form a cycle have to be checked in one commit.
        if many and new.options.unique_key is None and new.batch is None:
            return await self._add_with_many_parents(new, frozenset(many), now, request)
        return await self._writer.submit(partial(idempotency.add_once, new=new, now=now, request=request))

    async def _add_with_many_parents(
        self, new: NewJob, many: frozenset[str], now: Now, request: str | None
    ) -> AddedOne:  # fmt: skip
        known = await self._writer.submit(partial(idempotency.known_one, request=request, new=new, now=now))
        if known is not None:
            return known
        token = uuid.uuid4().hex
        child, left = await self._writer.submit(partial(many_parents.begin, token=token, new=new, many=many, now=now))
        try:
            named: list[tuple[str, str]] = []
            for selector, on in left:
                named += await self._wait_for(child, selector, on, new.resolved[selector], now)
            added = await self._writer.submit(partial(
                many_parents.commit, token=token, new=new, child=child, named=named, now=now, request=request
            ))  # fmt: skip
        except BaseException:
            self._in_background(self.discard_upload(token))
            raise
        if added.job.seq != child:
            self._in_background(self.discard_upload(token))
        return added

    async def _wait_for(
        self, child: int, selector: str, on: str, resolved: ResolvedSelector, now: Now
    ) -> list[tuple[str, str]]:
        parents = await self._writer.submit(
            partial(many_parents.matching_parents, selector=selector, resolved=resolved, child=child)
        )
        named: list[tuple[str, str]] = []
        for start in range(0, len(parents), many_parents.AT_ONCE):
            some = parents[start : start + many_parents.AT_ONCE]
            note = partial(many_parents.wait_for, child=child, parents=some, on=on, now=now)
            named += [(name, on) for name in await self._writer.submit(note, weight=len(some))]
            failpoints.reached("enqueue.parents")
        if not named:
            raise Refused(ErrorCode.NOT_FOUND, f"depends_on: no job matches {selector!r}", {"id": selector})
        return named

    async def add_many(self, new: Sequence[NewJob], *, now: Now, request: str | None = None) -> Added:
        """Store all jobs or, if one is refused, none; the refusal has its `index` in `data`."""
        if len(list(_slices(new, BULK))) == 1 or any(map(_may_replace, new)):
            add = partial(idempotency.add_many_once, new=new, now=now, request=request)
            submit = self._writer.submit if len(new) <= FEW else self._writer.submit_bulk
            return await submit(add, len(new))
        return await self._add_in_slices(new, now, request)

    async def _add_in_slices(self, new: Sequence[NewJob], now: Now, request: str | None) -> Added:
        known = await self._writer.submit(partial(idempotency.known_many, request=request))
        if known is not None:
            return known
        token = await self.open_upload(now=now)
        try:
            added = await self.add_to_upload(token, new, now=now)
            commit = partial(idempotency.commit_many, token=token, added=added, now=now, request=request)
            return await self._writer.submit(commit)
        except BaseException:
            self._in_background(self.discard_upload(token))
            raise

    async def open_upload(self, *, now: Now) -> str:
        """Open an upload and return its token."""
        token = uuid.uuid4().hex
        await self._writer.submit(partial(uploads.open_upload, token=token, now=now))
        return token

    async def add_to_upload(self, token: str, new: Sequence[NewJob], *, now: Now) -> Added:
        """Store jobs that are hidden until the commit, in slices.

        If a job is refused, none of them is stored, or, if there was more than one slice, the upload is discarded.
        """
        # All are submitted before the first is awaited: so calls that follow one another keep the order of their jobs.
        slices = [
            self._writer.submit_bulk(
                partial(uploads.add_to_upload, token=token, new=new[start:end], now=now, first=start), end - start
            )
            for start, end in _slices(new)
        ]
        parts = await asyncio.gather(*slices, return_exceptions=True)
        ids, seqs, skipped = list[str](), list[int](), list[int]()
        for part in parts:
            if isinstance(part, BaseException):
                if len(parts) > 1:
                    with contextlib.suppress(Refused):  # discarded already, with its connection
                        self._in_background(self._clear(await self._mark_discarded(token)))
                raise part
            ids += part.ids
            seqs += part.seqs
            skipped += part.skipped
        return Added(ids, seqs, skipped)

    async def commit_upload(self, token: str, *, now: Now, request: str | None = None) -> AddedSummary:
        """Make all jobs of the upload visible with one small write. Turns admit them to their lanes."""
        return await self._writer.submit(partial(idempotency.commit_upload_once, token=token, now=now, request=request))

    async def discard_upload(self, token: str) -> None:
        """Discard the upload and delete its rows in slices. Do nothing if it was discarded already, by a refusal."""
        with contextlib.suppress(Refused):
            await self._clear(await self._mark_discarded(token))

    async def discard_open_uploads(self) -> None:
        """Discard the uploads left open by the last daemon, in slices."""
        for number in await self._writer.submit(uploads.mark_abandoned):
            await self._clear(number)

    async def _mark_discarded(self, token: str) -> int:
        return await self._writer.submit(partial(uploads.discard_upload, token=token))

    async def _clear(self, number: int) -> None:
        clear = partial(uploads.clear_discarded, number=number, budget=SLICE)
        while await self._writer.submit_bulk(clear, SLICE):
            pass

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._clearing.add(task)
        task.add_done_callback(self._clearing.discard)


def effort(new: NewJob) -> int:
    """Estimate the work of storing a job, in plain jobs."""
    options = new.options
    keys = (options.key is not None) + (options.unique_key is not None)
    return 1 + KEY_EFFORT * keys + PARENT_EFFORT * len(new.depends_on)


def _may_replace(new: NewJob) -> bool:
    """Whether the job may replace another one, which a hidden job cannot."""
    return new.options.unique_key is not None and new.options.on_conflict == "replace"


def _slices(new: Sequence[NewJob], most: int = SLICE) -> Iterator[tuple[int, int]]:
    """Yield first index and end of parts with an effort of about `most` each."""
    if any(each.resolved for each in new):
        # The parents of all jobs that a selector names are counted together, so these are not cut so small.
        yield from ((start, min(start + BULK, len(new))) for start in range(0, len(new), BULK))
        return
    start = total = 0
    for index, each in enumerate(new):
        total += effort(each)
        if total >= most:
            yield start, index + 1
            start, total = index + 1, 0
    if start < len(new):
        yield start, len(new)
