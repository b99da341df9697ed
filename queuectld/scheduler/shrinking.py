"""Returns free pages of the store's file to the file system: soon after removals, in slices, while the store is idle.

Not after each removal: the next job usually reuses a free page.
"""

import asyncio
from typing import Final

from queuectl_client.protocol.vocabulary import EventKind
from queuectld.domain.errors import Refused
from queuectld.store.records import Committed, StoreFailed
from queuectld.store.store import Store

REMOVALS: Final = frozenset({EventKind.JOB_REMOVED, EventKind.JOBS_REMOVED})
SOON_S: Final = 2.0
"""Delay after a removal, so that the removals of one command are handled together."""
LATER_S: Final = 30.0
"""Delay before a retry, when a reader was active or the disk was full."""


class Shrinker:
    """Shrinks the store's file."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    def committed(self, commit: Committed) -> None:
        """Handle a commit: schedule a run if jobs were removed. Called on the event loop."""
        if self._timer is None and any(event.kind in REMOVALS for event in commit.events):
            self._wake_in(SOON_S)

    async def run(self) -> None:
        """Shrink the file now and after removals. Runs until cancelled."""
        self._wake_in(SOON_S)
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                self._timer = None
                try:
                    done = await self._store.upkeep.give_back()
                except StoreFailed:
                    return  # the daemon is about to end
                except Refused:
                    done = False
                if not done and self._timer is None:
                    self._wake_in(LATER_S)
        finally:
            if self._timer is not None:
                self._timer.cancel()

    def _wake_in(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._wake.set)
