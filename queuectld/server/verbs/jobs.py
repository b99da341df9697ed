"""Verbs on jobs: adding them, looking, waiting, and changing those that are there."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from queuectl_client.protocol import messages as wire
from queuectl_client.protocol.vocabulary import JobState
from queuectld.scheduler.jobs.bulk import BulkResult
from queuectld.scheduler.jobs.submission import queues_of
from queuectld.scheduler.service import Service
from queuectld.server.exclusive_calls import adds_alone, has_dependency_selector
from queuectld.server.route import Caller, Handler, Route
from queuectld.server.views import (
    added_view,
    changed_view,
    explanation_view,
    job_view,
    job_views,
    job_with_attempts,
    many_view,
    row_views,
    waited_view,
)


async def enqueue(service: Service, _caller: Caller, request: wire.Enqueue) -> Any:
    """The job as it was stored, and what keeps it from starting."""
    added = await service.jobs.enqueue(request.spec, request.submitter, request.request)
    return added_view(added, service.hints.of((added.job.queue,)))


async def enqueue_many(service: Service, _caller: Caller, request: wire.EnqueueMany) -> Any:
    """Ids and seqs of the jobs, in their order, and what keeps them from starting."""
    added = await service.jobs.enqueue_many(request.specs, request.submitters, request.request)
    return many_view(added, service.hints.of(queues_of(request.specs)))


async def list_jobs(service: Service, _caller: Caller, request: wire.ListJobs) -> Any:
    """A page of jobs, whole or a few keys of them, and where the next one begins."""
    if request.keys:
        rows = await service.jobs.rows(request, request.keys)
        return {"jobs": row_views(request.keys, rows.rows), "next": rows.next}
    page = await service.jobs.page(request)
    return {"jobs": job_views(page.jobs), "next": page.next}


async def get(service: Service, _caller: Caller, request: wire.JobGet) -> Any:
    """The job with its attempts."""
    return job_with_attempts(*await service.jobs.get(request.id))


async def wait(service: Service, _caller: Caller, request: wire.JobWait) -> Any:
    """Whether the jobs got there in time, how they ended, and the first of them."""
    waiting, keys = service.jobs.wait(request), request.keys
    del request  # it may name very many jobs, and who waits for them waits long
    return waited_view(await waiting, keys)


async def logs(service: Service, _caller: Caller, request: wire.JobLogs) -> Any:
    """A piece of the output."""
    return (await service.logs.read(request))._asdict()


async def kill(service: Service, _caller: Caller, request: wire.JobKill) -> Any:
    """The jobs that got the signal."""
    return changed_view(await service.jobs.commands.kill(request, request.signal))


async def send(service: Service, _caller: Caller, request: wire.JobSend) -> Any:
    """The job that has it now."""
    return {"jobs": [job_view(await service.jobs.send(request.id, request.data, eof=request.eof))]}


async def edit(service: Service, _caller: Caller, request: wire.JobEdit) -> Any:
    """The job as it is now."""
    return {"jobs": [job_view(await service.jobs.commands.edit(request.id, request.changes, request.rev))]}


async def move(service: Service, _caller: Caller, request: wire.JobMove) -> Any:
    """The job at its new place."""
    return {"jobs": [job_view(await service.jobs.commands.move(request))]}


async def explain(service: Service, _caller: Caller, request: wire.JobExplain) -> Any:
    """What holds the job back."""
    return explanation_view(await service.jobs.commands.explain(request.id))


async def prune(service: Service, _caller: Caller, request: wire.JobPrune) -> Any:
    """How many jobs are gone, or would be."""
    states = [JobState(state) for state in request.states]
    if request.narrows:
        return {"removed": await service.jobs.commands.prune(request)}
    return {"removed": await service.retention.prune(states, request.older_than, dry_run=request.dry_run)}


async def retry(service: Service, _caller: Caller, request: wire.JobRetry) -> Any:
    """The jobs that run again."""
    return changed_view(await service.jobs.commands.retry(request))


def _each(act: Callable[[Service, wire.JobIds], Awaitable[BulkResult]]) -> Handler:
    """The handler of a verb that does one thing to each of the jobs named."""

    async def handle(service: Service, _caller: Caller, request: wire.JobIds) -> Any:
        return changed_view(await act(service, request))

    return handle


ROUTES: Final[Mapping[str, Route]] = {
    "enqueue": Route(enqueue, runs_alone=has_dependency_selector),
    "enqueue_many": Route(enqueue_many, runs_alone=adds_alone),
    "list": Route(list_jobs),
    "job.get": Route(get),
    "job.wait": Route(wait),
    "job.logs": Route(logs),
    "job.cancel": Route(_each(lambda service, wanted: service.jobs.commands.cancel(wanted))),
    "job.kill": Route(kill),
    "job.pause": Route(_each(lambda service, wanted: service.jobs.commands.pause(wanted))),
    "job.resume": Route(_each(lambda service, wanted: service.jobs.commands.resume(wanted))),
    "job.send": Route(send),
    "job.hold": Route(_each(lambda service, wanted: service.jobs.commands.hold(wanted))),
    "job.release": Route(_each(lambda service, wanted: service.jobs.commands.release(wanted))),
    "job.retry": Route(retry),
    "job.remove": Route(_each(lambda service, wanted: service.jobs.commands.remove(wanted))),
    "job.prune": Route(prune),
    "job.edit": Route(edit),
    "job.move": Route(move),
    "job.explain": Route(explain),
}
