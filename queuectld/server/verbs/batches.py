"""Verbs on batches: more jobs than one message holds, added as one.

A batch belongs to the connection that opened it: its rows are dropped when that closes before the commit.
"""

from collections.abc import Generator, Mapping
from typing import Any, Final

from queuectl_client.protocol import messages as wire
from queuectl_client.protocol.jobspec import JobSpec
from queuectl_client.protocol.submissions import Submitter
from queuectl_client.protocol.vocabulary import ErrorCode
from queuectld.domain.errors import Refused
from queuectld.scheduler.jobs.submission import queues_of
from queuectld.scheduler.service import Service
from queuectld.server.exclusive_calls import CHECKED_AT_ONCE, adds_to_batch_alone
from queuectld.server.route import Caller, OpenBatch, Route
from queuectld.server.views import many_view


class _NextIteration:
    """Awaiting it lets other tasks of the event loop run."""

    def __await__(self) -> Generator[None, None, None]:
        yield


async def open_batch(service: Service, caller: Caller, request: wire.BatchOpen) -> Any:
    """The token of the batch."""
    token = await service.jobs.batch_open()
    caller.batches[token] = OpenBatch(request.defaults)
    return {"token": token}


async def add(service: Service, caller: Caller, request: wire.BatchAdd) -> Any:
    """Ids and seqs of the jobs, invisible to everybody until the commit."""
    batch = caller.batches.get(request.token)
    if batch is None:
        message = f"no such open batch: {request.token!r}"
        raise Refused(ErrorCode.NOT_FOUND, message, {"token": request.token})
    specs, submitters = list[JobSpec](), list[Submitter]()
    for some in batch.defaults.slices(request.jobs, CHECKED_AT_ONCE):
        if specs:
            await _NextIteration()
        specs += some.specs
        submitters += some.submitters
    added = await service.jobs.batch_add(request.token, specs, submitters)
    batch.queues |= queues_of(specs)
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
    "batch.add": Route(add, runs_alone=adds_to_batch_alone),
    "batch.commit": Route(commit),
}
