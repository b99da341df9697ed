"""Counts of jobs as of the last commit, for `status` without a query.

Read once, when the store is opened, then updated from each commit. Used on the event loop.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Final

from peewee import SQL

from queuectl_client.protocol.vocabulary import JobState
from queuectld.store.mapping.models import Count, Queue
from queuectld.store.mapping.rows import STATES
from queuectld.store.mapping.statement import statement
from queuectld.store.records import Counts

CountKey = tuple[int, int, str, int]
"""Upload that hides the jobs (0: none), queue, state, and whether they are in a lane."""
QueueState = tuple[int, str, bool]
"""Number and name of a queue, and whether it is paused."""
COUNTS: Final = statement(
    Count.select(Count.queue, Count.state, Count.ready, Count.n).where(Count.upload == SQL("0"))
)  # fmt: skip
_QUEUES: Final = statement(Queue.select(Queue.id, Queue.name, Queue.paused))


class LiveCounts:
    """Counts by state, ready jobs by queue, and paused queues."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._by_state = dict.fromkeys(JobState, 0)
        self._ready: dict[int, int] = {}
        """By queue; queues without ready jobs are left out."""
        self._names: dict[int, str] = {}
        self.paused: set[str] = set()
        """Names of paused queues. Always the same object."""
        self._cached: Counts | None = None
        self.change(
            {(0, queue, state, ready): n for queue, state, ready, n in connection.execute(COUNTS)},
            [(number, name, bool(paused)) for number, name, paused in connection.execute(_QUEUES)],
        )

    def change(self, counts: Mapping[CountKey, int], queues: Sequence[QueueState]) -> None:
        """Apply the count deltas and queue states of a commit."""
        for number, name, is_paused in queues:
            self._names[number] = name
            (self.paused.add if is_paused else self.paused.discard)(name)
        for (upload, queue, state, ready), n in counts.items():
            if upload:
                continue
            self._by_state[STATES[state]] += n
            if ready and n:
                left = self._ready.pop(queue, 0) + n
                if left:
                    self._ready[queue] = left
        if counts or queues:
            self._cached = None

    def counts(self) -> Counts:
        """Return the current counts."""
        if self._cached is None:
            ready = {self._names[queue]: n for queue, n in self._ready.items()}
            self._cached = Counts(dict(self._by_state), ready, sorted(self.paused))
        return self._cached
