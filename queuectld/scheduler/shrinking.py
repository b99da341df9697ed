"""Returns what is free to the system: pages of the store's file soon after removals, memory soon after much work.

Not after each removal: the next job usually reuses a free page. Memory once, when no more work has come for a while.
"""

import asyncio
import contextlib
from typing import Final

from queuectl_client.protocol.vocabulary import EventKind
from queuectld.domain.errors import Refused
from queuectld.store.records import FEW, Committed, StoreFailed
from queuectld.store.store import Store

REMOVALS: Final = frozenset({EventKind.JOB_REMOVED, EventKind.JOBS_REMOVED})
SOON_S: Final = 2.0
"""Delay after a removal, so that the removals of one command are handled together."""
MUCH: Final = 5_000
"""Jobs added or changed within a while that leave the daemon with memory worth returning."""
LATER_S: Final = 30.0
"""Delay before a retry, when a reader was active or the disk was full."""


class Shrinker:
    """Shrinks the store's file and the daemon's memory."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._memory_timer: asyncio.TimerHandle | None = None
        self._file_is_due = self._memory_is_due = False
        self._jobs = 0
        """Jobs added or changed since memory was last considered."""

    def committed(self, commit: Committed) -> None:
        """Handle a commit: schedule a run if jobs were removed, or very many changed. Called on the event loop."""
        if self._timer is None and any(event.kind in REMOVALS for event in commit.events):
            self._shrink_file_in(SOON_S)
        # Jobs that are admitted later may change no count: those that stay in line for their key.
        self._jobs += FEW if commit.unfinished else sum(map(abs, commit.counts.values()))
        if self._memory_timer is None and self._jobs >= MUCH:
            self._consider_memory_soon()

    async def run(self) -> None:
        """Shrink the file now and after removals, and memory after much work. Runs until cancelled."""
        self._shrink_file_in(SOON_S)
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                try:
                    if self._memory_is_due:
                        self._memory_is_due = False
                        with contextlib.suppress(Refused):
                            await self._store.upkeep.free_memory()
                    if self._file_is_due:
                        self._file_is_due = False
                        await self._shrink_file()
                except StoreFailed:
                    return  # the daemon is about to end
        finally:
            for timer in (self._timer, self._memory_timer):
                if timer is not None:
                    timer.cancel()

    async def _shrink_file(self) -> None:
        self._timer = None
        try:
            done = await self._store.upkeep.give_back()
        except Refused:
            done = False
        if not done and self._timer is None:
            self._shrink_file_in(LATER_S)

    def _shrink_file_in(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._file_due)

    def _file_due(self) -> None:
        self._file_is_due = True
        self._wake.set()

    def _consider_memory_soon(self) -> None:
        self._jobs = 0
        self._memory_timer = asyncio.get_running_loop().call_later(SOON_S, self._consider_memory)

    def _consider_memory(self) -> None:
        self._memory_timer = None
        if self._jobs >= FEW:
            self._consider_memory_soon()  # the work goes on
            return
        self._memory_is_due = True
        self._wake.set()
