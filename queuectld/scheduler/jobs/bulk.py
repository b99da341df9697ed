"""Bulk operations: apply one verb to named jobs, all or none, then to the jobs of selectors that permit it.

Works in slices, so that other requests get their turn, and keeps no more jobs in memory than an answer holds.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple, Protocol

from queuectl_client.protocol.filters import Filter, Not
from queuectl_client.protocol.permits import JobAction, refusal
from queuectl_client.protocol.selectors import Criteria
from queuectl_client.protocol.vocabulary import ErrorCode, JobState
from queuectld.domain.errors import Refused
from queuectld.domain.job import Job, Now
from queuectld.scheduler.clock import Clock
from queuectld.scheduler.jobs import selection
from queuectld.scheduler.jobs.selection import Selection
from queuectld.store.records import MAX_LOOKED_AT, ActionResult, Dependents, JobName, ListQuery
from queuectld.store.store import Store

SLICE: Final = 250
"""Jobs changed in one commit, during which other writes wait: about 10 ms, or 30 ms for jobs with a key."""
MAX_AT_ONCE: Final = 1_000
"""Named jobs that are changed in one commit. If there are more, all of them are checked first."""
MAX_NAMED: Final = 100_000
PAGES_A_CALL: Final = 20
"""Pages scanned by a call with a `limit`, so that it returns soon even without matches."""
MAX_REPORTED_BYTES: Final = 6 * 1024 * 1024
NAME_BYTES: Final = 300
"""Upper bound for the size of a job that is reported by name."""
MAX_REPORTED: Final = 5_000
"""Jobs listed in an answer; `count` has the total."""
KEYS: Final = ("seq", "state", "updated_at")


class BulkRequest(Protocol):
    """The fields that all bulk requests have."""

    @property
    def dry_run(self) -> bool: ...
    @property
    def brief(self) -> bool: ...
    @property
    def limit(self) -> int | None: ...
    @property
    def after(self) -> str | None: ...


class LeftOut(NamedTuple):
    """How many jobs of a state were skipped, and why."""

    state: str
    why: str
    jobs: int


class BulkResult(NamedTuple):
    """The result of a bulk operation.

    `jobs` holds the first of `total` jobs, only their names if the request was `brief`; `selected` of the total came
    from selectors. `next` is the cursor for the next call, None when finished.
    """

    jobs: Sequence[Job | JobName]
    total: int
    selected: int
    left_out: list[LeftOut]
    next: str | None
    dependents: Dependents = Dependents()
    """Of removed jobs: how many others waited for them."""


class BulkCursor(NamedTuple):
    """The position of a bulk operation: selector, last and final job, start time, and counts so far."""

    selector: int
    after: int
    until: int
    wall_ms: int
    store_ms: int
    done: int
    matched: int

    @property
    def since(self) -> Now:
        """The start time of the operation."""
        return Now(self.wall_ms, self.store_ms)


Action = Callable[[Sequence[int], BulkCursor, bool], Awaitable[ActionResult]]
"""Applies the verb to some jobs; the last argument: skip jobs that do not permit it instead of refusing."""


class BulkExecutor:
    """Applies one verb to many jobs."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def apply(
        self,
        verb: JobAction,
        refs: Sequence[str],
        request: BulkRequest,
        act: Action,
        *,
        listing: Criteria | None = None,
        condition: Filter | None = None,
    ) -> BulkResult:
        """Apply the verb to the jobs that `refs` or `listing` select, restricted to those that match `condition`.

        Raises Refused, and changes nothing, if a job named by id does not exist or does not permit the verb; Refused
        (not_found) if selectors match no job. Selected jobs that do not permit the verb are skipped.
        """
        selected = await selection.resolve(self._store, refs, ignore_missing=request.after is not None)
        selected.selectors.extend(() if listing is None else (listing,))
        if condition is not None:
            selected = await self._filtered(verb, selected, condition)
        action = self._dry_run(verb, request.brief) if request.dry_run else act
        call = _BulkCall(self._store, verb, selected, request, action)
        if request.after is not None:
            cursor = _read_cursor(request.after)
        else:
            now = self._clock.now()
            until = await self._store.queries.last_seq()
            cursor = await call.apply_named(BulkCursor(0, 0, until, now.wall_ms, now.store_ms, 0, 0))
        pages = 0
        while cursor.selector < len(selected.selectors):
            if request.limit is not None and (call.total >= request.limit or pages >= PAGES_A_CALL):
                return call.result(next=".".join(map(str, cursor)))
            cursor = await call.apply_page(cursor)
            pages += 1
        if not cursor.matched and listing is None and condition is None:
            raise Refused(ErrorCode.NOT_FOUND, selection.no_match(refs), {"ids": list(refs[:3])})
        return call.result(next=None)

    async def _filtered(self, verb: JobAction, selected: Selection, condition: Filter) -> Selection:
        """Restrict the selection. Raises Refused if a named job does not permit the verb, matching or not."""
        named: list[int] = []
        for batch in _slices(selected.named):
            await self._store.preview(verb, batch, brief=True)
            page = await self._store.queries.rows(ListQuery(where=condition, seqs=batch), KEYS)
            named += [seq for seq, *_ in page.rows]
        return Selection(
            named, [each._replace(where=selection.all_of(each.where, condition)) for each in selected.selectors]
        )

    def _dry_run(self, verb: JobAction, brief: bool) -> Action:
        async def look(seqs: Sequence[int], cursor: BulkCursor, picked: bool) -> ActionResult:
            del cursor
            return await self._store.preview(verb, seqs, picked=picked, brief=brief)

        return look


class _BulkCall:
    """The state of one call."""

    def __init__(self, store: Store, verb: JobAction, selected: Selection, request: BulkRequest, act: Action) -> None:
        self._store = store
        self._verb = verb
        self._selection = selected
        self._named = frozenset(selected.named)
        self._refusals = {str(state): refusal(verb, state) for state in JobState}
        self._request = request
        self._act = act
        self._reported: list[Job | JobName] = []
        self._bytes = 0
        self._left: dict[tuple[str, str], int] = {}
        self._dependents = Dependents()
        self.total = 0
        self.selected = 0

    async def apply_named(self, cursor: BulkCursor) -> BulkCursor:
        """Apply the verb to the jobs named by id, all of them or none (Refused)."""
        seqs = self._selection.named
        if len(seqs) > MAX_NAMED:
            message = f"too many ids: {len(seqs):,}; at most {MAX_NAMED:,}, but a selector may match any number of jobs"
            raise Refused(ErrorCode.TOO_LARGE, message, {"key": "ids"})
        if len(seqs) <= MAX_AT_ONCE:
            if seqs:
                self._take(await self._act(seqs, cursor, False))
        else:
            # Too many for one commit: check all before the first change; jobs that change in between are skipped.
            for batch in _slices(seqs):
                await self._store.preview(self._verb, batch, picked=False, brief=True)
            if self._verb is JobAction.RETRY:
                seqs = sorted(seqs)  # a job waits again for parents that are retried with it or before it
            for batch in _slices(seqs):
                self._take(await self._act(batch, cursor._replace(done=self.total), True))
        return cursor._replace(done=self.total, matched=len(seqs))

    async def apply_page(self, cursor: BulkCursor) -> BulkCursor:
        """Apply the verb to the next page of a selector."""
        selector = self._selection.selectors[cursor.selector]
        end = cursor.until if selector.last is None else min(selector.last, cursor.until)
        rows, following = await self._rows(selector, cursor, max(cursor.after, selector.first - 1))
        room = len(rows) if self._request.limit is None else self._request.limit - self.total
        fit: list[int] = []
        matched = 0
        for seq, state, updated_ms in rows:
            if seq > end:
                break
            if seq in self._named:
                continue
            matched += 1
            why = self._refusals[state]
            if why is None:
                fit.append(seq)
                if len(fit) == room:
                    following = seq
                    break
            elif updated_ms < cursor.wall_ms:
                # A job updated since the start was most likely changed by this call, via another selector or a parent.
                self._leave(state, why, 1)
        cursor = cursor._replace(matched=cursor.matched + matched)
        before = self.total
        for batch in _slices(fit):
            done = self.total
            self._take(await self._act(batch, cursor, True))
            cursor = cursor._replace(done=cursor.done + self.total - done)
        self.selected += self.total - before
        if following is None or following >= end:
            return cursor._replace(selector=cursor.selector + 1, after=0)
        return cursor._replace(after=following)

    async def _rows(
        self, selector: Criteria, cursor: BulkCursor, start: int
    ) -> tuple[list[tuple[Any, ...]], int | None]:
        # Where jobs do not change, exclude what earlier selectors matched, so that no job is reported twice.
        changes_nothing = self._request.dry_run or self._verb is JobAction.KILL
        earlier = self._selection.selectors[: cursor.selector] if changes_nothing else []
        where = selection.all_of(selector.where, *(Not(selection.as_filter(each)) for each in earlier))
        query = ListQuery(where=where, now_ms=cursor.wall_ms, after=str(start), upto=selector.last, limit=MAX_LOOKED_AT)
        page = await self._store.queries.rows(query, KEYS)
        return page.rows, None if page.next is None else int(page.next)

    def _take(self, done: ActionResult) -> None:
        self.total += len(done.names)
        self._dependents = Dependents(*map(sum, zip(self._dependents, done.dependents, strict=True)))
        for job in done.names if self._request.brief else done.jobs:
            self._bytes += _size(job) if isinstance(job, Job) else NAME_BYTES
            if len(self._reported) >= MAX_REPORTED or self._bytes > MAX_REPORTED_BYTES:
                break
            self._reported.append(job)
        for refused in done.refused:
            data = refused.data or {}
            # Without a state, the job was removed meanwhile.
            if "state" in data:
                self._leave(data["state"], data.get("why", refused.message), 1)

    def _leave(self, state: str, why: str, jobs: int) -> None:
        self._left[str(state), why] = self._left.get((str(state), why), 0) + jobs

    def result(self, *, next: str | None) -> BulkResult:
        """Return the result so far."""
        left = [LeftOut(state, why, jobs) for (state, why), jobs in sorted(self._left.items())]
        return BulkResult(self._reported, self.total, self.selected, left, next, self._dependents)


def _slices(seqs: Sequence[int]) -> Iterable[Sequence[int]]:
    return (seqs[start : start + SLICE] for start in range(0, len(seqs), SLICE))


def _size(job: Job) -> int:
    """Estimate the size of a job in an answer, in bytes."""
    command = len(job.command) if isinstance(job.command, str) else sum(map(len, job.command))
    options = job.options
    labels = sum(len(key) + len(value) for key, value in options.labels.items())
    return 1_000 + 2 * (command + labels + len(options.cwd) + len(job.reason or "")) + sum(map(len, options.env))


def _read_cursor(text: str) -> BulkCursor:
    parts = text.split(".")
    if len(parts) != len(BulkCursor._fields) or not all(part.isascii() and part.isdigit() for part in parts):
        message = f"invalid after: {text[:60]!r}; expected the `next` of an answer"
        raise Refused(ErrorCode.INVALID_PARAMS, message, {"key": "after"})
    return BulkCursor(*(min(int(part), 2**53) for part in parts))
