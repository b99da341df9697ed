"""Verbs on batches: more jobs than one message holds, added as one.

A batch belongs to the connection that opened it: its rows are dropped when that closes before the commit.
"""

from collections.abc import Mapping
from typing import Any, Final

from queuectl_client.protocol import messages as wire
from queuectl_client.protocol.vocabulary import ErrorCode
from queuectld.domain.errors import Refused
from queuectld.scheduler.jobs.submission import queues_of
from queuectld.scheduler.service import Service
from queuectld.server.exclusive_calls import has_dependency_selector
from queuectld.server.route import Caller, OpenBatch, Route
from queuectld.server.views import many_view


async def open_batch(service: Service, caller: Caller, request: wire.BatchOpen) -> Any:
    """The token of the batch."""
    token = await service.jobs.batch_open()
    caller.batches[token] = OpenBatch(request.defaults)
    return {"token": token}


async def add(service: Service, caller: Caller, request: wire.BatchAdd) -> Any:
    """Ids and seqs of the jobs, invisible to everybody until the commit."""
    batch = caller.batches.get(request.token)
    if batch is None:
        message = f"no such open batch on this connection: {request.token!r}"
        raise Refused(ErrorCode.NOT_FOUND, message, {"token": request.token})
    jobs = request.under(batch.defaults)
    added = await service.jobs.batch_add(request.token, jobs.specs, jobs.submitters)
    batch.queues |= queues_of(jobs.specs)
    return many_view(added)


async def commit(service: Service, caller: Caller, request: wire.BatchCommit) -> Any:
    """How many jobs became visible, and which; and what keeps them from starting."""
    added = await service.jobs.batch_commit(request.token, request.request)
    # Not before the commit: of a batch that could not be committed, what is there is dropped with the connection.
    batch = caller.batches.pop(request.token, None)
    hint = service.hints.of(batch.queues if batch is not None else ())
    return {
        "count": added.count, "first_seq": added.first_seq, "last_seq": added.last_seq, "hint": hint._asdict()
    }  # fmt: skip


ROUTES: Final[Mapping[str, Route]] = {
    "batch.open": Route(open_batch),
    "batch.add": Route(add, runs_alone=has_dependency_selector),
    "batch.commit": Route(commit),
}
