"""Queues: pause, resume, and limits on concurrency, rate and consecutive failures."""

from collections.abc import Callable, Sequence
from typing import Any

from queuectl_client.protocol.messages import QueuePause, QueueSet
from queuectl_client.protocol.spelling import hint
from queuectl_client.protocol.vocabulary import ErrorCode, JobState
from queuectld.domain.errors import Refused
from queuectld.scheduler.bus import Bus
from queuectld.scheduler.clock import Clock
from queuectld.store.records import QueueRow
from queuectld.store.store import Store


class QueueService:
    """Queue methods. A queue is created when a job or `set` first names it; `default` always exists."""

    def __init__(self, store: Store, bus: Bus, clock: Clock, wake: Callable[[], None]) -> None:
        self._store = store
        self._bus = bus
        self._clock = clock
        self._wake = wake

    async def list(self) -> Sequence[QueueRow]:
        """Return all queues by name."""
        return await self._store.queries.queues()

    async def set(self, request: QueueSet) -> Sequence[QueueRow]:
        """Change the given limits of a queue and return its row."""
        limits: dict[str, Any] = {}
        if request.concurrency is not None:
            limits["concurrency"] = request.concurrency or None
        if request.rate is not None:
            limits["rate"] = None if request.rate == "none" else request.rate
        if request.failure_limit is not None:
            limits["failure_limit"] = request.failure_limit or None
        return [await self._store.queue_set(request.name, now=self._clock.now(), **limits)]

    async def pause(self, request: QueuePause) -> Sequence[QueueRow]:
        """Start no more jobs of this queue; running ones continue. With `wait`, return once none runs."""
        await self._require(request.name)
        watch = self._bus.watch()
        try:
            row = await self._store.queue_pause(request.name, True, now=self._clock.now())
            while request.wait and row.paused and row.counts[JobState.PROCESSING]:
                await watch.woken()
                row = await self._require(request.name)
        finally:
            watch.close()
        return [row]

    async def resume(self, name: str) -> Sequence[QueueRow]:
        """Start jobs of this queue again."""
        await self._require(name)
        row = await self._store.queue_pause(name, False, now=self._clock.now())
        self._wake()
        return [row]

    async def remove(self, name: str) -> Sequence[QueueRow]:
        """Remove a queue that has no jobs. Raises Refused (not_found, wrong_state)."""
        row = await self._require(name)
        await self._store.queue_remove(name, now=self._clock.now())
        return [row]

    async def _require(self, name: str) -> QueueRow:
        """Return a queue. Raises Refused (not_found), which names the nearest one."""
        rows = {row.name: row for row in await self._store.queries.queues()}
        if name not in rows:
            near = hint(name, rows, otherwise="a queue appears when a job or queuectl queue set first names it")
            raise Refused(ErrorCode.NOT_FOUND, f"no such queue: {name!r}{near}", {"name": name})
        return rows[name]
