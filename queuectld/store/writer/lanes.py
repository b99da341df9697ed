"""The best job of each lane, in memory: what makes a claim cost the same whatever else is waiting.

A cache of the index `job_ready` for the one thread that writes. It must never be the only place where
something stands: where it is in doubt it asks the store again.
"""

import heapq
from collections.abc import Callable, Collection
from typing import Final, NamedTuple

from queuectl_client.protocol.vocabulary import JobState

SPARE_ENTRIES: Final = 64
"""Outdated entries the heap may hold beyond one for each lane, before it is built anew."""


class LaneHead(NamedTuple):
    """The first job of a lane. Sorts as claims do: highest priority, then lowest rank."""

    descent: int
    """The priority, negated."""
    rank: float
    seq: int
    lane: int
    state: JobState


class Lanes:
    """Which job comes next, over all open lanes. Heads of closed lanes are kept in step, but out of the heap."""

    def __init__(self) -> None:
        self._heads: dict[int, LaneHead] = {}
        self._heap: list[LaneHead] = []
        self._unknown: set[int] = set()
        """Open lanes whose head the store has to be asked for."""
        self._closed: set[int] = set()
        self._unknown_closed: set[int] = set()
        self._skipped: set[int] = set()

    def invalidate(self, lane: int) -> None:
        """Ask the store for the lane's head when it is needed next."""
        self._heads.pop(lane, None)
        (self._unknown_closed if lane in self._closed else self._unknown).add(lane)

    def add(self, head: LaneHead) -> None:
        """A job has entered its lane."""
        if head.lane in self._unknown or head.lane in self._unknown_closed:
            return
        known = self._heads.get(head.lane)
        if known is None or head < known:
            self._heads[head.lane] = head
            if head.lane not in self._closed:
                self._push(head)

    def discard(self, lane: int, seqs: Collection[int]) -> None:
        """Jobs have left their lane."""
        known = self._heads.get(lane)
        if known is not None and known.seq in seqs:
            self.invalidate(lane)

    def close(self, lane: int) -> None:
        """Take nothing from this lane until it is opened."""
        self._closed.add(lane)
        if lane in self._unknown:
            self._unknown.remove(lane)
            self._unknown_closed.add(lane)

    def open(self, lane: int) -> None:
        """Let claims take from this lane again."""
        self._closed.discard(lane)
        if lane in self._unknown_closed:
            self._unknown_closed.remove(lane)
            self._unknown.add(lane)
        elif lane in self._heads:
            self._push(self._heads[lane])

    def is_open(self, lane: int) -> bool:
        """Whether claims may take from this lane."""
        return lane not in self._closed

    def skip(self, lane: int) -> None:
        """Look past this lane until `unskip_all`."""
        self._skipped.add(lane)

    def unskip_all(self) -> None:
        """Look at all lanes again."""
        skipped, self._skipped = self._skipped, set()
        for lane in skipped:
            if lane in self._heads and lane not in self._closed:
                self._push(self._heads[lane])

    def best(self, fetch: Callable[[int], LaneHead | None]) -> LaneHead | None:
        """The job to claim next, left where it is. `fetch` reads a lane's head from the store; None: it is empty."""
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
        """Without the trimming, jobs of ever higher priority would pile up here while nobody claims."""
        heapq.heappush(self._heap, head)
        if len(self._heap) > 2 * len(self._heads) + SPARE_ENTRIES:
            self._heap = [head for lane, head in self._heads.items() if lane not in self._closed]
            heapq.heapify(self._heap)
