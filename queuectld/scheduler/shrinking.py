"""What removed jobs leave free in the store's file goes back to the disk: soon after, in slices, while nobody waits.

Not with each removal: a free page is most often wanted again by the next job.
"""

import asyncio
from typing import Final

from queuectl_client.protocol.vocabulary import EventKind
from queuectld.domain.errors import Refused
from queuectld.store.records import Committed, StoreFailed
from queuectld.store.store import Store

REMOVALS: Final = frozenset({EventKind.JOB_REMOVED, EventKind.JOBS_REMOVED})
SOON_S: Final = 2.0
"""From a removal until its room is given back, so that those of one command go together."""
LATER_S: Final = 30.0
"""Until it is tried again, where somebody was reading what has to go, or the disk was full."""


class Shrinker:
    """Gives back what is free."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    def committed(self, commit: Committed) -> None:
        """See whether a commit has removed jobs. Called on the loop."""
        if self._timer is None and any(event.kind in REMOVALS for event in commit.events):
            self._wake_in(SOON_S)

    async def run(self) -> None:
        """Give back what is free now, then whenever jobs have gone. Ends when cancelled."""
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
