"""What a person or a program sends to the stdin of a running job."""

from collections.abc import Mapping
from typing import Final

from queuectl_client.protocol.vocabulary import ErrorCode, JobState
from queuectld.domain.errors import Refused
from queuectld.domain.job import Job
from queuectld.scheduler.jobs import selection
from queuectld.scheduler.run_control import RunControl
from queuectld.store.store import Store

REFUSALS: Final[Mapping[str, tuple[ErrorCode, str]]] = {
    "ended": (ErrorCode.WRONG_STATE, "has ended before it could read this"),
    "closed": (ErrorCode.WRONG_STATE, "has closed its stdin, or was told that it ends"),
    "full": (ErrorCode.BUSY, "does not read, and a megabyte waits for it already"),
    "lost": (ErrorCode.BUSY, "was lost sight of meanwhile: whether it has this is not known"),
    "old": (ErrorCode.VERSION, "is run by a worker of an older version, which cannot pass this on and ends after it"),
}
"""Why a worker did not take it. The sentences go on from the name of the job."""


async def send(store: Store, runs: RunControl, ref: str, data: bytes, *, eof: bool) -> Job:
    """Give a running job this to read, and the end of its stdin behind it at `eof`; its worker has it afterwards.

    Refused (wrong_state) for a job that does not run, was not enqueued with `stdin_open`, or reads no more.
    """
    seq = await selection.resolve_one(store, ref)
    jobs = await selection.load(store, [seq])
    if not jobs:
        raise Refused(ErrorCode.NOT_FOUND, f"there is no job {ref!r}", {"id": ref})
    job = jobs[0]
    where = {"id": job.id, "seq": job.seq}
    if not job.options.stdin_open:
        message = f"{job.id} was not enqueued with --stdin-open (stdin_open), so nothing can be sent to it"
        raise Refused(ErrorCode.WRONG_STATE, message, where)
    if job.state is not JobState.PROCESSING or job.worker is None:
        message = f"{job.id} is {job.state}; it can be sent something while it runs"
        raise Refused(ErrorCode.WRONG_STATE, message, where)
    refused = await runs.send(job.worker, job.seq, job.run, data, eof=eof)
    if refused is not None:
        code, words = REFUSALS.get(refused, (ErrorCode.INTERNAL, f"did not take it: {refused}"))
        raise Refused(code, f"{job.id} {words}", where)
    return job
