"""Pools of workers, and how they and their workers are shown to clients.

Three kinds: `detached` (one, owned by the daemon and restarted with it), `foreground` (owned by a client, drained when
it disconnects), `job` (one worker for one job).
"""

import asyncio
from collections.abc import Hashable
from typing import Final, NamedTuple

from queuectl_client.protocol.vocabulary import WorkerState
from queuectld.pool.process import Worker

DETACHED: Final = "detached"
FOREGROUND: Final = "foreground"
JOB: Final = "job"


class PoolInfo(NamedTuple):
    """The number and kind of a pool."""

    id: int
    kind: str


class WorkerView(NamedTuple):
    """A worker as shown to clients. `since_ms` is Unix time, `job` the id of its job."""

    id: str
    number: int
    pid: int
    state: WorkerState
    job: str | None
    pool: PoolInfo
    since_ms: int
    jobs_done: int


class StartedWorkers(NamedTuple):
    """Workers that have started. The pool's events after `event_seq` hold everything they do."""

    workers: list[WorkerView]
    pool: int | None
    event_seq: int


class StoppedWorkers(NamedTuple):
    """Workers that ended, or (without waiting) were told to; `remaining` others are left.

    `left` describes what did not end.
    """

    workers: list[WorkerView]
    remaining: int
    left: list[str]


class Pool:
    """A pool in memory. `failures` counts workers in a row that ended right after they started."""

    def __init__(self, pool_id: int, kind: str, wanted: int, job_seq: int | None = None) -> None:
        self.id = pool_id
        self.kind = kind
        self.wanted = wanted
        self.job_seq = job_seq
        self.client: Hashable | None = None
        self.failures = 0
        self.is_checked = False
        """Whether a check is due of the job that it is for, so that no second one is needed."""
        self.filling = asyncio.Lock()
        """Serializes filling: two workers that die at once both trigger it."""


def view(worker: Worker, pool: Pool | None) -> WorkerView:
    """Return the worker as shown to clients."""
    return WorkerView(
        worker.name,
        worker.number,
        worker.pid,
        worker.state,
        worker.job_id,
        PoolInfo(worker.pool_id, pool.kind if pool is not None else DETACHED),
        worker.since_ms,
        worker.jobs_done,
    )
