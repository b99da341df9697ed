"""Watches processes that survived their run; their job may run again when they have ended."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Final

from queuectld.domain.errors import Refused
from queuectld.domain.outcome import Survivor
from queuectld.pool.background import BackgroundTasks
from queuectld.pool.process import watch_exit
from queuectld.scheduler.clock import Clock
from queuectld.store.store import Store
from queuectld.workerwire import procfs, unkillable

RETRY_SECONDS: Final = 10

log = logging.getLogger(__name__)


class Survivors:
    """Waits for the end of the survivors in the store."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._background = BackgroundTasks()
        self._seen: Mapping[int, tuple[Survivor, ...]] = {}
        self._watched: set[int] = set()

    def watch_new(self) -> None:
        """Watch the survivors that were added to the store."""
        noted = self._store.survivors
        if noted is not self._seen:
            self._seen = noted
            for seq in noted.keys() - self._watched:
                self._watched.add(seq)
                self._watch(seq)

    def words(self) -> list[str]:
        """Describe each survivor."""
        return [f"of job {seq}: {each.words}" for seq, survivors in self._store.survivors.items() for each in survivors]

    def close(self) -> None:
        """Stop watching; the next daemon continues."""
        self._background.close()

    def _watch(self, seq: int) -> None:
        self._background.start(self._until_gone(seq))

    async def _until_gone(self, seq: int) -> None:
        try:
            survivors = self._store.survivors.get(seq, ())
            for each in survivors:
                if each.boot_id == self._clock.boot_id:
                    await _end_of(each)
            if children := self._children(survivors):
                await self._store.set_survivors(seq, children)
                self._watch(seq)
                return
            await self._store.clear_survivors(seq, now=self._clock.now())
            self._watched.discard(seq)
            log.info("all surviving processes of job %d have ended", seq)
        except (OSError, Refused) as error:  # no free descriptor, or the store is locked or full
            log.warning("cannot watch surviving processes of job %d, retrying in %d s: %s", seq, RETRY_SECONDS, error)
            asyncio.get_running_loop().call_later(RETRY_SECONDS, self._watch, seq)

    def _children(self, survivors: tuple[Survivor, ...]) -> list[Survivor]:
        """Return the processes that they started meanwhile and that are still in their session."""
        sessions = {each.session for each in survivors if each.boot_id == self._clock.boot_id}
        for session in list(sessions):
            leader = procfs.look(session)
            if leader is not None and leader.is_alive:
                # The known leader has ended; the number was reused, so the session is empty.
                sessions.discard(session)
        found = [process for process in procfs.all_processes() if process.session in sessions and process.is_alive]
        return [
            Survivor(one.pid, one.start_time, self._clock.boot_id, one.session, one.comm, unkillable.is_denied(one))
            for one in found
        ]


async def _end_of(survivor: Survivor) -> None:
    """Wait for the end of a survivor. Raises OSError without a free descriptor."""
    ended = asyncio.Event()
    stop = watch_exit(survivor.pid, survivor.start_time, ended.set)
    if stop is None:
        return
    try:
        await ended.wait()
    finally:
        if not ended.is_set():
            stop()
