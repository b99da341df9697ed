"""Verbs on the dead letter queue."""

from collections.abc import Mapping
from typing import Any, Final

from queuectl_client.protocol import messages as wire
from queuectld.scheduler.service import Service
from queuectld.server.route import Caller, Route
from queuectld.server.views import changed_view, job_views


async def list_dead(service: Service, _caller: Caller, request: wire.DlqList) -> Any:
    """A page of dead jobs, and where the next one begins."""
    page = await service.dlq.list(request)
    return {"jobs": job_views(page.jobs), "next": page.next}


async def retry(service: Service, _caller: Caller, request: wire.DlqRetry) -> Any:
    """The jobs that will run again."""
    return changed_view(await service.dlq.retry(request))


async def purge(service: Service, _caller: Caller, request: wire.DlqPurge) -> Any:
    """The jobs that are gone."""
    return changed_view(await service.dlq.purge(request))


ROUTES: Final[Mapping[str, Route]] = {
    "dlq.list": Route(list_dead),
    "dlq.retry": Route(retry),
    "dlq.purge": Route(purge),
}
