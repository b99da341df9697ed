"""One verb on many jobs: those named each by itself all or none, then those of selectors that it can be done to.

It goes through any number of jobs in slices, so that others get their turn in between, and holds no more of them
than an answer does.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple, Protocol

from queuectl_client.protocol.filters import Filter, Not
from queuectl_client.protocol.selectors import Criteria
from queuectl_client.protocol.vocabulary import ErrorCode, JobState
from queuectld.domain.errors import Refused
from queuectld.domain.job import Job, Now
from queuectld.domain.permits import JobAction, refusal
from queuectld.scheduler.clock import Clock
from queuectld.scheduler.jobs import selection
from queuectld.scheduler.jobs.selection import Selection
from queuectld.store.records import MAX_LOOKED_AT, ActionResult, JobName, ListQuery
from queuectld.store.store import Store

SLICE: Final = 250
"""Jobs changed in one commit, for which others wait: some 10 ms where they are alike, 30 where they have a key."""
MAX_AT_ONCE: Final = 1_000
"""JobName jobs that are changed in one commit. Of more, all are looked at first."""
MAX_NAMED: Final = 100_000
PAGES_A_CALL: Final = 20
"""Pages that a call with a `limit` looks at, so that it is short also where it finds nothing."""
MAX_REPORTED_BYTES: Final = 6 * 1024 * 1024
NAME_BYTES: Final = 300
"""The most that the name of a job takes of these."""
MAX_REPORTED: Final = 5_000
"""Jobs that an answer tells in full; `count` says how many there were."""
KEYS: Final = ("seq", "state", "updated_at")


class BulkRequest(Protocol):
    """What a request says of the jobs it is about."""

    @property
    def dry_run(self) -> bool: ...
    @property
    def brief(self) -> bool: ...
    @property
    def limit(self) -> int | None: ...
    @property
    def after(self) -> str | None: ...


class LeftOut(NamedTuple):
    """So many jobs of a state to which it could not be done, and why."""

    state: str
    why: str
    jobs: int


class BulkResult(NamedTuple):
    """What a verb has done. `jobs` are the first of the `total`; `selected` of these were named by no id of their own.

    They are no more than named where no more was wanted. `next`: where to go on; None when all is done.
    """

    jobs: Sequence[Job | JobName]
    total: int
    selected: int
    left_out: list[LeftOut]
    next: str | None


class BulkCursor(NamedTuple):
    """How far it has come: which selector, after which job, up to which one; since when; what was found and done."""

    selector: int
    after: int
    until: int
    wall_ms: int
    store_ms: int
    done: int
    matched: int

    @property
    def since(self) -> Now:
        """When it began."""
        return Now(self.wall_ms, self.store_ms)


Action = Callable[[Sequence[int], BulkCursor, bool], Awaitable[ActionResult]]
"""Do it to these jobs; the last argument: leave out those to which it cannot be done."""


class BulkExecutor:
    """Does one thing to many jobs."""

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
        """Do it to the jobs that the references or the listing stand for, of these to those alone that pass a filter.

        Refused when one that is named by its id is not there, or it cannot be done to it; nothing is changed then.
        Refused (not_found) when selectors fit no job at all. What a selector fits and it cannot be done to is left out.
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
        """Those of the jobs that pass the filter. Refused when it cannot be done to a named one, passed or not."""
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
    """One call on its way."""

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
        self.total = 0
        self.selected = 0

    async def apply_named(self, cursor: BulkCursor) -> BulkCursor:
        """Do it to those named by their ids: to all of them, or Refused."""
        seqs = self._selection.named
        if len(seqs) > MAX_NAMED:
            message = f"{len(seqs):,} ids are more than {MAX_NAMED:,}; a selector may stand for any number of jobs"
            raise Refused(ErrorCode.TOO_LARGE, message, {"key": "ids"})
        if len(seqs) <= MAX_AT_ONCE:
            if seqs:
                self._take(await self._act(seqs, cursor, False))
        else:
            # Too many for one commit. All are looked at before the first is changed; what changes between is left out.
            for batch in _slices(seqs):
                await self._store.preview(self._verb, batch, picked=False, brief=True)
            for batch in _slices(seqs):
                self._take(await self._act(batch, cursor._replace(done=self.total), True))
        return cursor._replace(done=self.total, matched=len(seqs))

    async def apply_page(self, cursor: BulkCursor) -> BulkCursor:
        """Do it to the next jobs of a selector."""
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
                # What changed since this began was changed by it, most likely: under another selector, or as a child.
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
        for job in done.names if self._request.brief else done.jobs:
            self._bytes += _size(job) if isinstance(job, Job) else NAME_BYTES
            if len(self._reported) >= MAX_REPORTED or self._bytes > MAX_REPORTED_BYTES:
                break
            self._reported.append(job)
        for refused in done.refused:
            data = refused.data or {}
            # One without a state went while this was under way.
            if "state" in data:
                self._leave(data["state"], data.get("why", refused.message), 1)

    def _leave(self, state: str, why: str, jobs: int) -> None:
        self._left[str(state), why] = self._left.get((str(state), why), 0) + jobs

    def result(self, *, next: str | None) -> BulkResult:
        """The answer."""
        left = [LeftOut(state, why, jobs) for (state, why), jobs in sorted(self._left.items())]
        return BulkResult(self._reported, self.total, self.selected, left, next)


def _slices(seqs: Sequence[int]) -> Iterable[Sequence[int]]:
    return (seqs[start : start + SLICE] for start in range(0, len(seqs), SLICE))


def _size(job: Job) -> int:
    """About how many bytes a job takes in an answer."""
    command = len(job.command) if isinstance(job.command, str) else sum(map(len, job.command))
    options = job.options
    labels = sum(len(key) + len(value) for key, value in options.labels.items())
    return 1_000 + 2 * (command + labels + len(options.cwd) + len(job.reason or "")) + sum(map(len, options.env))


def _read_cursor(text: str) -> BulkCursor:
    parts = text.split(".")
    if len(parts) != len(BulkCursor._fields) or not all(part.isascii() and part.isdigit() for part in parts):
        raise Refused(ErrorCode.INVALID_PARAMS, f"{text[:60]!r} is not the `next` of an answer", {"key": "after"})
    return BulkCursor(*(min(int(part), 2**53) for part in parts))
