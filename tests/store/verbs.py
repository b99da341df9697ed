"""Verbs on jobs by their numbers, all or none of them, as the scheduler has the store carry them out."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from queuectl_client.protocol.permits import JobAction
from queuectl_client.protocol.vocabulary import JobState
from queuectld.domain.job import Job, NewJob, Now
from queuectld.store.records import Cancelled, Pruned, Removed
from queuectld.store.store import Store


async def add(store: Store, new: NewJob, *, now: Now, request: str | None = None) -> Job:
    """Store a job, or find the one that is there already."""
    return (await store.intake.add(new, now=now, request=request)).job


async def find(store: Store, ref: str) -> int | None:
    """The number of the job with this id or number."""
    (seq,) = await store.queries.find_each([ref])
    return seq


async def cancel(store: Store, seqs: Sequence[int], *, now: Now, **how: Any) -> list[Cancelled]:
    """End jobs for good; with each the run that a worker still has to end."""
    done = await store.apply(JobAction.CANCEL, seqs, now=now, how=how)
    running = {each.job.seq: each for each in done.running}
    return [running.get(job.seq, Cancelled(job, None, None)) for job in done.jobs]


async def hold(store: Store, seqs: Sequence[int], *, now: Now) -> list[Job]:
    """Keep waiting jobs back."""
    return (await store.apply(JobAction.HOLD, seqs, now=now)).jobs


async def release(store: Store, seqs: Sequence[int], *, now: Now) -> list[Job]:
    """Let held jobs wait as others do."""
    return (await store.apply(JobAction.RELEASE, seqs, now=now)).jobs


async def retry(store: Store, seqs: Sequence[int], *, now: Now) -> list[Job]:
    """Let ended jobs run again."""
    return (await store.apply(JobAction.RETRY, seqs, now=now)).jobs


async def remove(store: Store, seqs: Sequence[int], *, now: Now) -> Removed:
    """Delete ended or waiting jobs."""
    done = await store.apply(JobAction.REMOVE, seqs, now=now)
    return Removed(done.jobs, done.names, done.files)


async def dlq_retry(
    store: Store, seqs: Sequence[int], *, now: Now, delay_ms: Callable[[int], int] | None = None
) -> list[Job]:
    """Let dead jobs run again, each after the delay for its index."""
    return (await store.apply(JobAction.DLQ_RETRY, seqs, now=now, how={"delay_ms": delay_ms})).jobs


async def dlq_purge(store: Store, seqs: Sequence[int], *, now: Now) -> Removed:
    """Delete dead jobs."""
    done = await store.apply(JobAction.DLQ_PURGE, seqs, now=now)
    return Removed(done.jobs, done.names, done.files)


async def prune(store: Store, seqs: Sequence[int], before: Mapping[JobState, int], *, now: Now) -> Pruned:
    """Delete those that ended before so long."""
    parts = [pruned async for pruned in store.upkeep.prune_jobs(seqs, before, now=now)]
    return Pruned(sum(part.count for part in parts), [file for part in parts for file in part.files])
