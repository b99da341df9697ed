"""The outcomes that have come and are not on disk yet: whose they are, and who waits for them to be stored.

What a run has left behind (state file, spool file, the row of its worker) may go only when its outcome is stored:
should the daemon be killed before, the next one has nothing else to go by.
"""

import asyncio

from queuectld.pool.process import RunKey
from queuectld.workerwire import spool


class _Entry:
    """One outcome. `worker` keeps it until it is told, `file` is where a dead one left it."""

    def __init__(self) -> None:
        self.worker: int | None = None
        self.file: str | None = None
        self.stored = asyncio.Event()


class PendingOutcomes:
    """Outcomes on their way into the store."""

    def __init__(self) -> None:
        self._entries: dict[RunKey, _Entry] = {}

    def note(self, key: RunKey, *, worker: int | None = None, file: str | None = None) -> None:
        """The outcome of this execution has come: told by a worker, found in a file, or made up for a dead one."""
        entry = self._entries.setdefault(key, _Entry())
        if worker is not None:
            entry.worker = worker
        if file is not None:
            entry.file = file

    def __contains__(self, key: RunKey) -> bool:
        return key in self._entries

    def stored(self, key: RunKey) -> int | None:
        """It is on disk, so its spool file is gone. The worker that still keeps it, if there is one."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return None
        if entry.file is not None:
            spool.remove(entry.file)
        entry.stored.set()
        return entry.worker

    async def until_stored(self, key: RunKey) -> None:
        """Returns when it is on disk; at once where no outcome of this execution has come."""
        entry = self._entries.get(key)
        if entry is not None:
            await entry.stored.wait()
