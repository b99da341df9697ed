"""Queues: paused or open, and how many of their jobs may run at once."""

from collections.abc import Callable, Sequence

from queuectl_client.protocol.messages import QueueSet
from queuectl_client.protocol.vocabulary import ErrorCode
from queuectld.domain.errors import Refused
from queuectld.scheduler.clock import Clock
from queuectld.store.records import QueueRow
from queuectld.store.store import Store


class QueueService:
    """Verbs on queues. A queue appears when it is first used; `default` is always there."""

    def __init__(self, store: Store, clock: Clock, wake: Callable[[], None]) -> None:
        self._store = store
        self._clock = clock
        self._wake = wake

    async def list(self) -> Sequence[QueueRow]:
        """All queues by name."""
        return await self._store.queues()

    async def set(self, wanted: QueueSet) -> Sequence[QueueRow]:
        """Change the limits of a queue. Refused (invalid_params) for what this version cannot honour."""
        for name in ("concurrency", "rate"):
            if getattr(wanted, name) is not None:
                message = f"{name} is not supported by this version of queuectld"
                raise Refused(ErrorCode.INVALID_PARAMS, message, {"key": name})
        return [row for row in await self._store.queues() if row.name == wanted.name]

    async def pause(self, name: str) -> Sequence[QueueRow]:
        """Start no more jobs of this queue; running ones go on."""
        return [await self._store.queue_pause(name, True, now=self._clock.now())]

    async def resume(self, name: str) -> Sequence[QueueRow]:
        """Start jobs of this queue again."""
        row = await self._store.queue_pause(name, False, now=self._clock.now())
        self._wake()
        return [row]
