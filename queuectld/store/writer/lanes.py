"""The first job of each lane, in memory, so that the cost of a claim does not depend on how many jobs wait.

A cache of the index `job_ready` for the writer thread. A head that may be outdated is invalidated and read again.
"""

import heapq
from collections.abc import Callable, Collection
from typing import Final, NamedTuple

from queuectl_client.protocol.vocabulary import JobState

SPARE_ENTRIES: Final = 64
"""Outdated entries that the heap may hold, beyond one for each lane, before it is rebuilt."""


class LaneHead(NamedTuple):
    """The first job of a lane. Sorts as claims do: highest priority, then lowest rank."""

    descent: int
    """The priority, negated."""
    rank: float
    seq: int
    lane: int
    state: JobState


class Lanes:
    """The heads of all lanes. Heads of closed lanes are kept up to date, but not in the heap."""

    def __init__(self) -> None:
        self._heads: dict[int, LaneHead] = {}
        self._heap: list[LaneHead] = []
        self._unknown: set[int] = set()
        """Open lanes whose head has to be read from the store."""
        self._closed: set[int] = set()
        self._unknown_closed: set[int] = set()
        self._skipped: set[int] = set()

    def invalidate(self, lane: int) -> None:
        """Read the lane's head from the store when it is needed next."""
        self._heads.pop(lane, None)
        (self._unknown_closed if lane in self._closed else self._unknown).add(lane)

    def add(self, head: LaneHead) -> None:
        """Update the head after a job has entered its lane."""
        if head.lane in self._unknown or head.lane in self._unknown_closed:
            return
        known = self._heads.get(head.lane)
        if known is None or head < known:
            self._heads[head.lane] = head
            if head.lane not in self._closed:
                self._push(head)

    def discard(self, lane: int, seqs: Collection[int]) -> None:
        """Update the head after jobs have left their lane."""
        known = self._heads.get(lane)
        if known is not None and known.seq in seqs:
            self.invalidate(lane)

    def close(self, lane: int) -> None:
        """Exclude this lane from claims until it is opened."""
        self._closed.add(lane)
        if lane in self._unknown:
            self._unknown.remove(lane)
            self._unknown_closed.add(lane)

    def open(self, lane: int) -> None:
        """Include this lane in claims again."""
        self._closed.discard(lane)
        if lane in self._unknown_closed:
            self._unknown_closed.remove(lane)
            self._unknown.add(lane)
        elif lane in self._heads:
            self._push(self._heads[lane])

    def is_open(self, lane: int) -> bool:
        """Whether claims include this lane."""
        return lane not in self._closed

    def skip(self, lane: int) -> None:
        """Skip this lane until `unskip_all`."""
        self._skipped.add(lane)

    def unskip_all(self) -> None:
        """Include skipped lanes again."""
        skipped, self._skipped = self._skipped, set()
        for lane in skipped:
            if lane in self._heads and lane not in self._closed:
                self._push(self._heads[lane])

    def best(self, fetch: Callable[[int], LaneHead | None]) -> LaneHead | None:
        """Return the job to claim next, without removing it. `fetch` reads a lane's head; None: it is empty."""
        while self._unknown:
            lane = self._unknown.pop()
            head = fetch(lane)
            if head is not None:
                self._heads[lane] = head
                heapq.heappush(self._heap, head)
        while self._heap:
            head = self._heap[0]
            if self._heads.get(head.lane) is head and head.lane not in self._closed and head.lane not in self._skipped:
                return head
            heapq.heappop(self._heap)
        return None

    def _push(self, head: LaneHead) -> None:
        """Push a head. Rebuild the heap if too long: without claims, jobs of ever higher priority would pile up."""
        heapq.heappush(self._heap, head)
        if len(self._heap) > 2 * len(self._heads) + SPARE_ENTRIES:
            self._heap = [head for lane, head in self._heads.items() if lane not in self._closed]
            heapq.heapify(self._heap)
