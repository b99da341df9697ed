"""Pools of one worker that is started for one job, once this may run and no other worker takes it."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from queuectl_client.protocol.vocabulary import EventKind, JobState
from queuectld.domain.job import Job
from queuectld.pool.views import Pool
from queuectld.scheduler.run_control import Capacity
from queuectld.store.records import Committed
from queuectld.store.store import Store

_MAY_LET_IN: Final = frozenset({EventKind.QUEUE_CHANGED, EventKind.WORKER_ENDED})
"""Events, of no job of its own, after which a job may run that did not before, or needs a worker."""


def to_maintain(commit: Committed, pools: Mapping[int, Pool], is_empty: Callable[[Pool], bool]) -> Iterator[Pool]:
    """Yield the pools whose job has changed, and the empty ones whose job may run since this commit."""
    changed = {event.seq for event in commit.events}
    lets_in = commit.ready or any(event.kind in _MAY_LET_IN for event in commit.events)
    for pool in pools.values():
        if pool.job_seq is None:
            continue
        if pool.job_seq in changed:
            yield pool
        elif lets_in and not pool.is_checked and is_empty(pool):
            pool.is_checked = True
            yield pool


async def needs_worker(store: Store, job: Job, capacity: Callable[[], Capacity]) -> bool:
    """Whether the job may run now, and nothing but a worker of its own takes it."""
    if not job.ready and job.state is not JobState.FAILED:
        return False
    return job.queue not in (await store.counts()).paused and not capacity().workers
