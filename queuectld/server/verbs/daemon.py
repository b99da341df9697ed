"""Verbs on the daemon itself, and the queue at a glance."""

from collections.abc import Mapping
from typing import Any, Final

from queuectl_client.protocol import messages as wire
from queuectld.scheduler.service import Service
from queuectld.server.route import Caller, Route
from queuectld.server.views import facts_view, status_view


async def status(service: Service, _caller: Caller, _request: wire.StatusGet) -> Any:
    """Counts by state, workers, paused queues."""
    return status_view(await service.jobs.status(), service.daemon.info())


async def info(service: Service, _caller: Caller, _request: wire.DaemonInfo) -> Any:
    """Who this daemon is and where it keeps its things."""
    return facts_view(service.daemon.info())


async def drain(service: Service, _caller: Caller, request: wire.DaemonDrain) -> Any:
    """No new job starts; with `resume` they do again."""
    return await service.daemon.drain(request.resume)


async def shutdown(service: Service, _caller: Caller, request: wire.DaemonShutdown) -> Any:
    """The workers have ended, and the daemon is about to."""
    return await service.daemon.shutdown(request.now)


ROUTES: Final[Mapping[str, Route]] = {
    "status": Route(status),
    "daemon.info": Route(info),
    "daemon.drain": Route(drain),
    "daemon.shutdown": Route(shutdown),
}
