"""Verbs on workers."""

from collections.abc import Mapping
from typing import Any, Final

from queuectl_client.protocol import messages as wire
from queuectld.scheduler.service import Service
from queuectld.server.route import Caller, Route
from queuectld.server.views import worker_views


async def start(service: Service, caller: Caller, request: wire.WorkerStart) -> Any:
    """The new workers once they are up. Of a foreground pool this connection is the owner."""
    started = await service.workers.start(request, caller)
    return {"workers": worker_views(started.workers), "pool": started.pool, "event_seq": started.event_seq}


async def stop(service: Service, _caller: Caller, request: wire.WorkerStop) -> Any:
    """The workers that end or have ended, how many remain, and what did not end though it was waited for."""
    stopped = await service.workers.stop(request)
    return {"workers": worker_views(stopped.workers), "remaining": stopped.remaining, "left": list(stopped.left)}


async def list_workers(service: Service, _caller: Caller, _request: wire.WorkerList) -> Any:
    """All workers."""
    return {"workers": worker_views(service.workers.list())}


async def scale(service: Service, _caller: Caller, request: wire.WorkerScale) -> Any:
    """The detached workers as they are now."""
    return {"workers": worker_views(await service.workers.scale(request.count))}


ROUTES: Final[Mapping[str, Route]] = {
    "worker.start": Route(start),
    "worker.stop": Route(stop),
    "worker.list": Route(list_workers),
    "worker.scale": Route(scale),
}
