"""What keeps new jobs from starting, told with the answer that they are stored, so that nobody has to ask for it.

Made from what the daemon has in memory: it asks the store nothing.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from queuectld.scheduler.run_control import RunControl
from queuectld.store.store import Store


class Hint(NamedTuple):
    """How things stand for some new jobs.

    `paused`: those of their queues that start no jobs. `workers`: how many take any job, now or when they have ended
    another one. `slots`: how many there are in all. `draining`: the daemon starts no jobs at all.
    """

    paused: list[str]
    workers: int
    slots: int
    draining: bool


class Hints:
    """Looks at queues, workers and settings."""

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
