"""Limits in the writer's cache: what running jobs occupy, and which queues may start jobs because of that.

Small: an entry for each queue and for each job that a worker has. Loaded from the rows of such jobs when the store is
opened. Changes nothing in the store.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from queuectld.domain.rate import Rate, Starts
from queuectld.domain.resources import Demand, Granted, Resources


class Allocation(NamedTuple):
    """What a job occupies while a worker has it: processing, or cancelled and still ending."""

    seq: int
    queue: int
    worker: int
    key: str | None
    demand: Demand
    granted: Granted


@dataclass(slots=True)
class QueueLimits:
    """Limits of a queue and their use. Fields are named like the columns."""

    paused: bool = False
    paused_because: str | None = None
    concurrency: int | None = None
    rate: Rate | None = None
    starts: Starts = ()
    failure_limit: int | None = None
    failures: int = 0
    running: int = 0
    opens_ms: int | None = None
    """Store time until which the rate limit keeps it closed."""
    is_open: bool = True
    """Whether its lanes are open."""

    @property
    def may_open(self) -> bool:
        """Whether no limit keeps it closed."""
        full = self.concurrency is not None and self.running >= self.concurrency
        return not (self.paused or full or self.opens_ms is not None)


@dataclass(slots=True)
class Limits:
    """The limits of all queues and what is allocated. Changed only through the session, which can undo it."""

    queues: dict[int, QueueLimits] = field(default_factory=dict)
    allocations: dict[int, Allocation] = field(default_factory=dict)
    keys: dict[str, int] = field(default_factory=dict)
    """By concurrency key: number of allocations."""
    resources: Resources = field(default_factory=Resources)
    rate_limited: set[int] = field(default_factory=set)
    """Queues that their rate limit keeps closed."""

    def allocate(self, allocation: Allocation) -> None:
        """Add the allocation of a job that a worker has."""
        self.allocations[allocation.seq] = allocation
        self.queues[allocation.queue].running += 1
        if allocation.key is not None:
            self.keys[allocation.key] = self.keys.get(allocation.key, 0) + 1
        self.resources.acquire(allocation.demand, allocation.granted)

    def release(self, seq: int) -> Allocation | None:
        """Remove and return the allocation of a job; None if there is none."""
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
        """Return the allocations of a worker."""
        return [allocation for allocation in self.allocations.values() if allocation.worker == worker]

    def next_opening(self) -> int | None:
        """Return when the next rate-limited queue reopens, in store time."""
        return earliest(self.queues[queue].opens_ms for queue in self.rate_limited)


def earliest(times: Iterable[int | None]) -> int | None:
    """Return the earliest of the times that are not None."""
    return min((at for at in times if at is not None), default=None)
