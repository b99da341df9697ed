"""Pools of workers, and how they and their workers are told.

Three kinds: `detached` (one, the daemon's own, comes back with it), `foreground` (a client's, drained when the client
is gone), `job` (one worker for one job alone).
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
    """A pool as it is told: its number and kind."""

    id: int
    kind: str


class WorkerView(NamedTuple):
    """A worker as it is told. `since_ms` is Unix time, `job` the id of what it runs."""

    id: str
    number: int
    pid: int
    state: WorkerState
    job: str | None
    pool: PoolInfo
    since_ms: int
    jobs_done: int


class StartedWorkers(NamedTuple):
    """Workers that are up. Events of the pool after `event_seq` tell all that they do."""

    workers: list[WorkerView]
    pool: int | None
    event_seq: int


class StoppedWorkers(NamedTuple):
    """Workers that ended, or (without waiting) were told to; `remaining` are left and not told.

    `left`: what did not end, in words.
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
        self.filling = asyncio.Lock()
        """Two workers that die at once are two reasons to fill the pool, and it is to be filled once."""


def view(worker: Worker, pool: Pool | None) -> WorkerView:
    """The worker as it is told."""
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
