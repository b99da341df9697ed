"""What SQLite is made to do: statements, commits and steps of its virtual machine, counted on a store's connections.

Counts are the same on a slow machine and on a fast one. Steps tell a search by an index from a walk over all rows:
a look-up takes as many in a long table as in a short one (only pages differ, and those with the logarithm).
"""

import sqlite3
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from queuectld.store.store import Store

ENDS = ("COMMIT", "END")


class Effort(NamedTuple):
    """What was done, for each of the units that it was done for."""

    statements: float
    commits: float
    steps: float


class Meter:
    """Counts on both connections of an open store, whose threads may go on using them."""

    def __init__(self, store: Store, *, every: int = 1) -> None:
        """`every`: steps are counted in units of so many, which takes so much less time."""
        self._every = every
        self._statements = self._commits = self._steps = 0
        for connection in (store._writer._connection, store._reader._connection):
            self._attach(connection)

    async def of(self, units: int, work: Callable[[], Awaitable[object]]) -> Effort:
        """The effort of some work, by unit. Everything it asks of the store is awaited in it."""
        self._statements = self._commits = self._steps = 0
        await work()
        return Effort(self._statements / units, self._commits / units, self._steps / units)

    def _attach(self, connection: sqlite3.Connection) -> None:
        connection.set_trace_callback(self._statement)
        connection.set_progress_handler(self._step, self._every)

    def _statement(self, text: str) -> None:
        self._statements += 1
        self._commits += text.startswith(ENDS)

    def _step(self) -> None:
        self._steps += self._every
