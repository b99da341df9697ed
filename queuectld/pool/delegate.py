"""What the pool needs of those who decide: about jobs, and about what becomes of a dead worker's run."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from queuectld.domain.outcome import Outcome
from queuectld.pool.process import Worker

Bury = Callable[[Worker], Awaitable[None]]
"""Settles what a dead worker leaves."""


class PoolOwner(Protocol):
    """Who decides what becomes of jobs and of the number of workers."""

    def report(self, outcome: Outcome) -> None:
        """An execution ended."""
        ...

    def give_back(self, seq: int, run: int) -> None:
        """A worker was given this, and has not begun to run it."""
        ...

    def wake(self) -> None:
        """A worker became free."""
        ...
