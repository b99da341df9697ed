"""How many jobs there are of each kind, as of the last commit: what `status` tells without asking the store.

Read once, when the store is opened; from then on each commit says what it has changed. Used on the event loop.
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
"""The batch that hides the jobs (0: none does), their queue, their state, and whether they are in their lane."""
QueueState = tuple[int, str, bool]
"""A queue's number and name, and whether it is paused."""
COUNTS: Final = statement(
    Count.select(Count.queue, Count.state, Count.ready, Count.n).where(Count.batch == SQL("0"))
)  # fmt: skip
_QUEUES: Final = statement(Queue.select(Queue.id, Queue.name, Queue.paused))


class LiveCounts:
    """Counts by state, ready jobs by queue, and paused queues."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._by_state = dict.fromkeys(JobState, 0)
        self._ready: dict[int, int] = {}
        """By queue; those that have none are left out."""
        self._names: dict[int, str] = {}
        self.paused: set[str] = set()
        """The names of paused queues. The same object at all times."""
        self._cached: Counts | None = None
        self.change(
            {(0, queue, state, ready): n for queue, state, ready, n in connection.execute(COUNTS)},
            [(number, name, bool(paused)) for number, name, paused in connection.execute(_QUEUES)],
        )

    def change(self, counts: Mapping[CountKey, int], queues: Sequence[QueueState]) -> None:
        """A commit has made so many more, or less, of each kind, and has left these queues so."""
        for number, name, is_paused in queues:
            self._names[number] = name
            (self.paused.add if is_paused else self.paused.discard)(name)
        for (batch, queue, state, ready), n in counts.items():
            if batch:
                continue
            self._by_state[STATES[state]] += n
            if ready and n:
                left = self._ready.pop(queue, 0) + n
                if left:
                    self._ready[queue] = left
        if counts or queues:
            self._cached = None

    def counts(self) -> Counts:
        """The counts as they are now."""
        if self._cached is None:
            ready = {self._names[queue]: n for queue, n in self._ready.items()}
            self._cached = Counts(dict(self._by_state), ready, sorted(self.paused))
        return self._cached
