"""Outcomes that were received but are not stored yet.

The state file, spool file and worker row of a run are removed only after its outcome is stored: if the daemon is killed
before, the next one needs them.
"""

import asyncio

from queuectld.pool.process import RunKey
from queuectld.workerwire import spool


class _Entry:
    """One outcome. `worker` keeps it until acknowledged; `file` is its spool file."""

    def __init__(self) -> None:
        self.worker: int | None = None
        self.file: str | None = None
        self.stored = asyncio.Event()


class PendingOutcomes:
    """Outcomes that are not stored yet."""

    def __init__(self) -> None:
        self._entries: dict[RunKey, _Entry] = {}

    def note(self, key: RunKey, *, worker: int | None = None, file: str | None = None) -> None:
        """Add an outcome: reported by a worker, found in a spool file, or made for a dead worker."""
        entry = self._entries.setdefault(key, _Entry())
        if worker is not None:
            entry.worker = worker
        if file is not None:
            entry.file = file

    def __contains__(self, key: RunKey) -> bool:
        return key in self._entries

    def stored(self, key: RunKey) -> int | None:
        """Remove a stored outcome and its spool file. Returns the worker that still keeps it, if any."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return None
        if entry.file is not None:
            spool.remove(entry.file)
        entry.stored.set()
        return entry.worker

    async def until_stored(self, key: RunKey) -> None:
        """Wait until the outcome is stored; returns at once if there is none."""
        entry = self._entries.get(key)
        if entry is not None:
            await entry.stored.wait()
