"""Waits for jobs to end, woken by events. The cost of one end does not depend on the number of jobs waited for.

Keeps one or two bits per job, and the order of those named by id.
"""

import asyncio
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Final, NamedTuple

from queuectl_client.protocol.selectors import Criteria
from queuectl_client.protocol.vocabulary import EventKind, JobState
from queuectld.domain.seqset import SeqSet
from queuectld.domain.states import has_ended
from queuectld.scheduler.bus import Bus
from queuectld.scheduler.jobs import selection
from queuectld.store.records import MAX_LOOKED_AT, ListQuery
from queuectld.store.store import Store

SLICE: Final = 1_000
"""Jobs per query."""
STATE_OF: Final[Mapping[EventKind, JobState]] = {EventKind(f"job.{state}"): state for state in JobState}
NAMED: Final = 0


class WaitCursor(NamedTuple):
    """The position in an answer: which part of the jobs, and after which of them.

    Part 0 holds the jobs named by id, `after` being their index from 1; the others are the selectors, by seq.
    """

    part: int = NAMED
    after: int = 0


class WaitSet:
    """The jobs that one call waits for, in the order named, and how they ended."""

    def __init__(self) -> None:
        self._named = array("q")
        self._selected: list[SeqSet] = []
        self._all = SeqSet()
        self.open = SeqSet()
        """Jobs that have not ended."""
        self._failed = SeqSet()
        """Jobs that have ended otherwise than completed."""
        self._ended: Counter[JobState] = Counter()
        self._lately: dict[int, JobState | None] | None = {}
        """How jobs have ended since the last query; None once all jobs are known."""

    @property
    def bytes(self) -> int:
        """Approximate memory use in bytes."""
        sets = (self._all, self.open, self._failed, *self._selected)
        return self._named.itemsize * len(self._named) + sum(each.bytes for each in sets)

    @property
    def has_ended_any(self) -> bool:
        """Whether one of the jobs has ended or was removed."""
        return len(self.open) < len(self._all)

    @property
    def ended(self) -> Mapping[JobState, int]:
        """The number of ended jobs by state."""
        return self._ended

    def __len__(self) -> int:
        return len(self._all)

    def lookup_started(self) -> None:
        """Start a query: its result includes all ends up to now."""
        self._lately = {}

    def add_named(self, seqs: Sequence[int], states: Mapping[int, JobState]) -> None:
        """Add jobs named by id, with their states."""
        for seq in seqs:
            if seq in states and self._take(seq, states[seq]):
                self._named.append(seq)

    def next_selector(self) -> None:
        """Begin the jobs of another selector."""
        self._selected.append(SeqSet())

    def add_selected(self, seq: int, state: JobState) -> None:
        """Add a job of the current selector."""
        if self._take(seq, state):
            self._selected[-1].add(seq)

    def lookup_done(self) -> None:
        """Mark the set of jobs as complete."""
        self._lately = None

    def job_ended(self, seq: int, kind: EventKind) -> bool:
        """Record that a job ended or was removed. Returns whether it is in this set. Takes constant time."""
        state = STATE_OF.get(kind)
        if self._lately is not None:
            self._lately[seq] = state
        if not self.open.discard(seq):
            return False
        self._note(seq, state)
        return True

    def order(self, cursor: WaitCursor) -> Iterator[tuple[WaitCursor, int]]:
        """Yield the jobs after a cursor, each with its own cursor."""
        if cursor.part == NAMED:
            for index in range(cursor.after, len(self._named)):
                yield WaitCursor(NAMED, index + 1), self._named[index]
        for part in range(max(cursor.part, 1), len(self._selected) + 1):
            for seq in self._selected[part - 1].after(cursor.after if part == cursor.part else 0):
                yield WaitCursor(part, seq), seq

    def failures(self) -> Iterator[int]:
        """Yield the jobs that have ended otherwise than completed, in order."""
        if len(self._failed):
            yield from (seq for _, seq in self.order(WaitCursor()) if seq in self._failed)

    def _take(self, seq: int, state: JobState) -> bool:
        if not self._all.add(seq):
            return False
        now: JobState | None = state
        if self._lately and seq in self._lately:
            now = self._lately[seq]  # it ended after the query
        if now is not None and not has_ended(now):
            self.open.add(seq)
        else:
            self._note(seq, now)
        return True

    def _note(self, seq: int, state: JobState | None) -> None:
        if state is None:
            return  # removed
        self._ended[state] += 1
        if state is not JobState.COMPLETED:
            self._failed.add(seq)


async def for_jobs(store: Store, bus: Bus, refs: Sequence[str], timeout: float | None) -> "Wait":
    """Return a wait for these jobs. Raises Refused (not_found) for an unknown id.

    Selectors are resolved now, in slices, so that other requests get their turn; the time that takes counts against
    `timeout` (seconds). Close the wait when done.
    """
    wait = Wait(bus, timeout)
    try:
        wait.may_be_empty = await _look_up(store, wait.wait_set, refs)
    except BaseException:
        wait.close()
        raise
    return wait


class Wait:
    """Waits for a set of jobs. Its watch starts before the first query, so that no end is missed."""

    def __init__(self, bus: Bus, timeout: float | None) -> None:
        self.wait_set = WaitSet()
        self._deadline = _deadline(timeout)
        self.may_be_empty = False
        """Whether no match is not an error: the jobs were selected by state, or with `all`."""
        self._watch = bus.watch_job_ends(self.wait_set.job_ended)

    async def over(self, *, any_one: bool) -> bool:
        """Wait until all jobs (or any one) have ended or were removed. False when the time is over before."""
        while len(self.wait_set.open) and not (any_one and self.wait_set.has_ended_any):
            if not await self._watch.woken(self._deadline):
                return False
        return True

    def close(self) -> None:
        """Close the watch."""
        self._watch.close()


async def counts(store: Store, wait_set: WaitSet) -> dict[JobState, int]:
    """Return the number of jobs by state, without removed ones."""
    found: dict[JobState, int] = {state: wait_set.ended.get(state, 0) for state in JobState}
    cursor = 0
    while seqs := list(islice(wait_set.open.after(cursor), SLICE)):
        for state in (await store.queries.states(seqs)).values():
            found[state] += 1
        cursor = seqs[-1]
    return found


async def until_idle(store: Store, bus: Bus, *, timeout: float | None) -> bool:
    """Wait until no job is failed, processing, or ready in an open queue. False after `timeout` seconds.

    Held, delayed, paused and blocked jobs do not count.
    """
    deadline = _deadline(timeout)
    watch = bus.watch()
    try:
        while not (await store.counts()).is_quiet:
            if not await watch.woken(deadline):
                return False
        return True
    finally:
        watch.close()


async def _look_up(store: Store, wait_set: WaitSet, refs: Sequence[str]) -> bool:
    """Fill the wait set. Returns whether an empty set is not an error."""
    selected = await selection.resolve(store, refs)
    for start in range(0, len(selected.named), SLICE):
        some = selected.named[start : start + SLICE]
        wait_set.lookup_started()
        wait_set.add_named(some, await store.queries.states(some))
    for selector in selected.selectors:
        wait_set.next_selector()
        await _look_up_selector(store, wait_set, selector)
    wait_set.lookup_done()
    return not selected.named and all(selector.may_be_empty for selector in selected.selectors)


async def _look_up_selector(store: Store, wait_set: WaitSet, selector: Criteria) -> None:
    after: str | None = str(max(selector.first - 1, 0))
    while after is not None:
        wait_set.lookup_started()
        query = ListQuery(where=selector.where, after=after, upto=selector.last, limit=MAX_LOOKED_AT)
        page = await store.queries.rows(query, ("seq", "state"))
        for seq, state in page.rows:
            wait_set.add_selected(seq, JobState(state))
        after = page.next


def _deadline(timeout: float | None) -> float | None:
    return None if timeout is None else asyncio.get_running_loop().time() + timeout
