"""What the writing thread knows of limits: how many of what are in hand, and which queues are open because of that.

Small: an entry for each queue, and for each job that a worker has. Rebuilt from the few rows of such jobs when the
store is opened. It changes nothing in the store and decides nothing about jobs.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from queuectld.domain.rate import Rate, Starts
from queuectld.domain.resources import Demand, Granted, Resources


class Allocation(NamedTuple):
    """A job that a worker has: processing, or cancelled and not yet gone."""

    seq: int
    queue: int
    worker: int
    key: str | None
    demand: Demand
    granted: Granted


@dataclass(slots=True)
class QueueLimits:
    """A queue's limits and how far they are used up. Fields are named as the columns."""

    paused: bool = False
    paused_because: str | None = None
    concurrency: int | None = None
    rate: Rate | None = None
    starts: Starts = ()
    failure_limit: int | None = None
    failures: int = 0
    running: int = 0
    opens_ms: int | None = None
    """Store time until which the rate keeps it closed."""
    is_open: bool = True
    """Whether its lanes are open now."""

    @property
    def may_open(self) -> bool:
        """Whether nothing closes it."""
        full = self.concurrency is not None and self.running >= self.concurrency
        return not (self.paused or full or self.opens_ms is not None)


@dataclass(slots=True)
class Limits:
    """All of them. Changed through the session alone, which can take it back."""

    queues: dict[int, QueueLimits] = field(default_factory=dict)
    allocations: dict[int, Allocation] = field(default_factory=dict)
    keys: dict[str, int] = field(default_factory=dict)
    """By key: how many jobs of it are in hand."""
    resources: Resources = field(default_factory=Resources)
    rate_limited: set[int] = field(default_factory=set)
    """Queues that their rate keeps closed for a while."""

    def allocate(self, allocation: Allocation) -> None:
        """A worker has this job."""
        self.allocations[allocation.seq] = allocation
        self.queues[allocation.queue].running += 1
        if allocation.key is not None:
            self.keys[allocation.key] = self.keys.get(allocation.key, 0) + 1
        self.resources.acquire(allocation.demand, allocation.granted)

    def release(self, seq: int) -> Allocation | None:
        """No worker has this job any more. None: none had it."""
        allocation = self.allocations.pop(seq, None)
        if allocation is None:
            return None
        self.queues[allocation.queue].running -= 1
        if allocation.key is not None:
            left = self.keys.pop(allocation.key) - 1
            if left:
                self.keys[allocation.key] = left
        self.resources.release(allocation.demand, allocation.granted)
        return allocation

    def allocations_of(self, worker: int) -> list[Allocation]:
        """What this worker has."""
        return [allocation for allocation in self.allocations.values() if allocation.worker == worker]

    def next_opening(self) -> int | None:
        """When a rate opens the next queue, in store time."""
        return earliest(self.queues[queue].opens_ms for queue in self.rate_limited)


def earliest(times: Iterable[int | None]) -> int | None:
    """The first of the times that there are."""
    return min((at for at in times if at is not None), default=None)
