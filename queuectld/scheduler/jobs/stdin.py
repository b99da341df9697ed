"""Sends input to the stdin of a running job."""

from collections.abc import Mapping
from typing import Final

from queuectl_client.protocol.vocabulary import ErrorCode, JobState
from queuectld.domain.errors import Refused
from queuectld.domain.job import Job
from queuectld.scheduler.jobs import selection
from queuectld.scheduler.run_control import RunControl
from queuectld.store.store import Store

REFUSALS: Final[Mapping[str, tuple[ErrorCode, str]]] = {
    "ended": (ErrorCode.WRONG_STATE, "ended before it could read this"),
    "closed": (ErrorCode.WRONG_STATE, "has closed its stdin, or was told that it ends"),
    "full": (ErrorCode.BUSY, "does not read its stdin, and 1 MiB is waiting already"),
    "lost": (ErrorCode.BUSY, "lost its connection meanwhile; it may or may not have received this"),
    "old": (ErrorCode.VERSION, "runs on a worker of an older version that does not support send"),
}
"""Error code and message for each reason a worker gives. Messages continue after the id of the job."""


async def send(store: Store, runs: RunControl, ref: str, data: bytes, *, eof: bool) -> Job:
    """Write to the stdin of a running job, and close it afterwards if `eof`. Returns once the worker has the data.

    Raises Refused (wrong_state) if the job does not run, was enqueued without `stdin_open`, or has closed its stdin.
    """
    seq = await selection.resolve_one(store, ref)
    jobs = await selection.load(store, [seq])
    if not jobs:
        raise Refused(ErrorCode.NOT_FOUND, f"no such job: {ref!r}", {"id": ref})
    job = jobs[0]
    where = {"id": job.id, "seq": job.seq}
    if not job.options.stdin_open:
        message = f"{job.id} was not enqueued with --stdin-open (stdin_open), so nothing can be sent to it"
        raise Refused(ErrorCode.WRONG_STATE, message, where)
    if job.state is not JobState.PROCESSING or job.worker is None:
        message = f"{job.id} is {job.state}; only a running job can be sent input"
        raise Refused(ErrorCode.WRONG_STATE, message, where)
    refused = await runs.send(job.worker, job.seq, job.run, data, eof=eof)
    if refused is not None:
        code, words = REFUSALS.get(refused, (ErrorCode.INTERNAL, f"did not take it: {refused}"))
        raise Refused(code, f"{job.id} {words}", where)
    return job
