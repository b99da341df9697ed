"""What keeps new jobs from starting: sent with the answer of `enqueue`, so that clients need no second call.

Computed from memory, without a query.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from queuectld.scheduler.run_control import RunControl
from queuectld.store.store import Store


class Hint(NamedTuple):
    """What may keep some new jobs from starting.

    `paused`: the paused ones of their queues. `workers`: how many workers take any job, now or after their current one.
    `slots`: how many there are in total. `draining`: the daemon starts no jobs.
    """

    paused: list[str]
    workers: int
    slots: int
    draining: bool


class Hints:
    """Makes hints from queues, workers and settings."""

    def __init__(
        self, store: Store, workers: RunControl, setting: Callable[[str], Any], is_draining: Callable[[], bool]
    ) -> None:
        self._store = store
        self._workers = workers
        self._setting = setting
        self._is_draining = is_draining

    def of(self, queues: Iterable[str]) -> Hint:
        """The hint for jobs of these queues."""
        paused = self._store.paused
        capacity = self._workers.capacity()
        slots = self._setting("slots")
        return Hint(
            sorted(set(queues) & paused) if paused else [],
            capacity.workers,
            capacity.slots if slots is None else slots,
            self._is_draining(),
        )
