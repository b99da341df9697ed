"""Verbs on queues."""

from collections.abc import Mapping
from typing import Any, Final

from queuectl_client.protocol import messages as wire
from queuectld.scheduler.service import Service
from queuectld.server.route import Caller, Route
from queuectld.server.views import queue_views


async def list_queues(service: Service, _caller: Caller, _request: wire.QueueList) -> Any:
    """All queues by name."""
    return {"queues": queue_views(await service.queues.list())}


async def set_limits(service: Service, _caller: Caller, request: wire.QueueSet) -> Any:
    """The queue as it is now."""
    return {"queues": queue_views(await service.queues.set(request))}


async def pause(service: Service, _caller: Caller, request: wire.QueuePause) -> Any:
    """The queue, paused."""
    return {"queues": queue_views(await service.queues.pause(request))}


async def resume(service: Service, _caller: Caller, request: wire.QueueResume) -> Any:
    """The queue, open."""
    return {"queues": queue_views(await service.queues.resume(request.name))}


async def remove(service: Service, _caller: Caller, request: wire.QueueRemove) -> Any:
    """The queue as it was."""
    return {"queues": queue_views(await service.queues.remove(request.name))}


ROUTES: Final[Mapping[str, Route]] = {
    "queue.list": Route(list_queues),
    "queue.set": Route(set_limits),
    "queue.pause": Route(pause),
    "queue.resume": Route(resume),
    "queue.remove": Route(remove),
}
