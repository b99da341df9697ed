"""The best job of each lane, in memory: what makes a claim cost the same whatever else is waiting.

A cache of the index `job_ready` for the one thread that writes. It must never be the only place where
something stands: where it is in doubt it asks the store again.
"""

import heapq
from collections.abc import Callable
from typing import Final, NamedTuple

from queuectl_client.protocol.vocabulary import JobState

SPARE_ENTRIES: Final = 64
"""Outdated entries the heap may hold beyond one for each lane, before it is built anew."""


class Head(NamedTuple):
    """The first job of a lane. Sorts as claims do: highest priority, then lowest rank."""

    descent: int
    """The priority, negated."""
    rank: int
    seq: int
    lane: int
    state: JobState


class Lanes:
    """Which job comes next, over all open lanes."""

    def __init__(self) -> None:
        self._heads: dict[int, Head] = {}
        self._heap: list[Head] = []
        self._unknown: set[int] = set()
        self._closed: set[int] = set()

    def doubt(self, lane: int) -> None:
        """Ask the store for the lane's head when it is needed next."""
        self._heads.pop(lane, None)
        self._unknown.add(lane)

    def offer(self, head: Head) -> None:
        """A job has entered its lane."""
        if head.lane in self._unknown:
            return
        known = self._heads.get(head.lane)
        if known is None or head < known:
            self._heads[head.lane] = head
            heapq.heappush(self._heap, head)
            self._trim()

    def withdraw(self, lane: int, seq: int) -> None:
        """A job has left its lane."""
        known = self._heads.get(lane)
        if known is not None and known.seq == seq:
            self.doubt(lane)

    def close(self, lane: int) -> None:
        """Take nothing from this lane until it is opened."""
        self._closed.add(lane)

    def open(self, lane: int) -> None:
        """Let claims take from this lane again."""
        self._closed.discard(lane)
        self.doubt(lane)

    def is_open(self, lane: int) -> bool:
        """Whether claims may take from this lane."""
        return lane not in self._closed

    def best(self, fetch: Callable[[int], Head | None]) -> Head | None:
        """The job to claim next, left where it is. `fetch` reads a lane's head from the store."""
        for lane in self._unknown - self._closed:
            self._unknown.discard(lane)
            head = fetch(lane)
            if head is not None:
                self._heads[lane] = head
                heapq.heappush(self._heap, head)
        while self._heap:
            head = self._heap[0]
            if self._heads.get(head.lane) is head and head.lane not in self._closed:
                return head
            heapq.heappop(self._heap)
        return None

    def _trim(self) -> None:
        """Without this, jobs of ever higher priority would pile up here while nobody claims."""
        if len(self._heap) > 2 * len(self._heads) + SPARE_ENTRIES:
            self._heap = list(self._heads.values())
            heapq.heapify(self._heap)
