"""What the daemon keeps of workers that it did not start itself, or has lost sight of."""

import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from queuectld.boot import boot_id
from queuectld.pool.pool import WorkerPool
from queuectld.pool.process import RunKey, Worker
from queuectld.scheduler.clock import Clock
from queuectld.scheduler.inbox import Inbox
from queuectld.store.records import WorkerRow
from queuectld.workerwire import procfs, spool
from tests.store.lab import Lab, in_lab
from tests.support.eventually import eventually_async


class Reaping(WorkerPool):
    """A pool that notes whom it has buried."""

    def __init__(self, lab: Lab) -> None:
        state = lab.path.parent
        super().__init__(lab.store, Clock(None), lambda _: 3, cast(Any, SimpleNamespace(state=state)), "", Inbox())
        self.buried: list[int] = []
        self.on_death(self._note)

    async def _note(self, worker: Worker) -> None:
        self.buried.append(worker.id)


def with_pool(scenario: Callable[[Lab, Reaping], Awaitable[None]]) -> Callable[[Path], None]:
    @in_lab
    async def test(lab: Lab) -> None:
        pool = Reaping(lab)
        try:
            await scenario(lab, pool)
        finally:
            await pool.close()

    test.__name__ = scenario.__name__
    return test


@with_pool
async def test_of_outcomes_that_workers_left_the_living_bring_their_own(lab: Lab, pool: Reaping) -> None:
    state = str(lab.path.parent)
    for worker in (1, 2):
        outcome = {"seq": 10 + worker, "run": 1, "kind": "exit", "started_ms": 1, "finished_ms": 2, "duration_ms": 1}
        spool.create_reserve(state, worker)
        spool.save(state, worker, outcome | {"exit_code": 0, "worker": worker})
    assert [outcome.seq for outcome in pool.adopt_spool([1])] == [12]
    assert RunKey(12, 1) in pool.pending_outcomes
    assert RunKey(11, 1) not in pool.pending_outcomes
    assert [outcome.seq for outcome in pool.adopt_spool([])] == [11, 12]


@with_pool
async def test_a_worker_taken_over_is_reaped_once_its_process_is_gone(lab: Lab, pool: Reaping) -> None:
    del lab
    with subprocess.Popen(["sleep", "1000"]) as process:
        try:
            start_time = procfs.start_time(process.pid)
            here = WorkerRow(1, 1, 1, "here", process.pid, start_time, boot_id(), 0)
            rows = [here, here._replace(id=2, boot_id="another"), here._replace(id=3, pid=None)]
            for row in rows:
                pool.watch_taken_over(row, pool.take_over(row))
            await eventually_async(lambda: sorted(pool.buried) == [2, 3])
            process.kill()
            await eventually_async(lambda: sorted(pool.buried) == [1, 2, 3])
        finally:
            process.kill()


@with_pool
async def test_a_worker_whose_connection_closed_has_none_until_it_comes_back(lab: Lab, pool: Reaping) -> None:
    del lab
    first, second = (cast(Any, SimpleNamespace(worker=7, close=lambda: None)) for _ in range(2))
    worker = pool.workers[7] = Worker(7, 1, 1, 0)
    worker.link = first
    pool.lost(cast(Any, SimpleNamespace(worker=None)))
    assert worker.link is first
    pool.lost(first)
    assert worker.link is None
    worker.link = second
    pool.lost(first)
    assert worker.link is second
    assert pool.buried == []
