"""Pools of workers over a real store: who is started, kept and let go, with workers that are but noted."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from queuectl_client.protocol.messages import WorkerStart, WorkerStop
from queuectl_client.protocol.vocabulary import ErrorCode
from queuectld.domain.errors import Refused
from queuectld.pool import supervisor
from queuectld.pool.process import RunKey, Worker
from queuectld.pool.supervisor import Supervisor
from queuectld.scheduler.clock import Clock
from queuectld.scheduler.run_control import Capacity
from queuectld.store.records import Committed, Due
from tests.store import verbs
from tests.store.lab import Lab, in_lab
from tests.support.eventually import eventually_async

ME = "a client"


class Workers:
    """Workers that are up at once and end only when a test says so."""

    def __init__(self) -> None:
        self.workers: dict[int, Worker] = {}
        self.dedication: dict[int, int] = {}
        self.awaiting_client: set[int] = set()
        self.drained: list[int] = []
        self.killed: list[tuple[int, str]] = []
        self.survivors = SimpleNamespace(words=list)
        self.runs = self

    def capacity(self) -> Capacity:
        return Capacity(0, len(self.workers))

    def client_attached(self, pool_id: int) -> None:
        self.awaiting_client.discard(pool_id)

    async def add(self, pool_id: int, number: int) -> Worker:
        worker = Worker(100 * pool_id + number, pool_id, number, 0)
        worker.ready.set_result(None)
        self.workers[worker.id] = worker
        return worker

    def kill(self, worker: int, *_: int, **how: Any) -> None:
        self.killed.append((worker, how["why"]))

    def drain(self, worker: Worker) -> None:
        worker.draining = True
        self.drained.append(worker.id)


class Stage:
    """A store and the supervisor of the newest daemon over it."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.workers = Workers()
        self.supervisor = Supervisor(lab.store, Clock(None), self.workers)  # type: ignore[arg-type]

    async def next_daemon(self) -> None:
        """Another daemon over the same store, whose workers of before have ended."""
        self.workers = Workers()
        self.supervisor = Supervisor(self.lab.store, Clock(None), self.workers)  # type: ignore[arg-type]
        await self.supervisor.restore_pools(by_hand=False)
        await self.supervisor.start_pools()


def staged(scenario: Callable[[Stage], Awaitable[None]]) -> Callable[[Path], None]:
    @in_lab
    async def test(lab: Lab) -> None:
        async with asyncio.timeout(30):
            await scenario(Stage(lab))

    test.__name__ = scenario.__name__
    return test


@staged
async def test_a_worker_for_one_job_takes_it_alone_and_goes_when_it_has_ended(stage: Stage) -> None:
    lab = stage.lab
    jobs = [await lab.add(), await lab.add()]
    started = await stage.supervisor.start(WorkerStart(1, job="1"), ME)
    assert started.pool is not None
    assert stage.workers.dedication == {started.pool: 1}
    assert len(stage.workers.workers) == 1
    assert (await stage.supervisor.start(WorkerStart(1, job="1"), ME)).pool is None, "it has one already"
    told = len(lab.events)
    await verbs.cancel(lab.store, [jobs[1].seq], now=lab.now)
    stage.supervisor.committed(Committed(lab.events[told:], ready=False, due=Due(None, None)))
    await asyncio.sleep(0)
    told = len(lab.events)
    await verbs.cancel(lab.store, [jobs[0].seq], now=lab.now)
    stage.supervisor.committed(Committed(lab.events[told:], ready=False, due=Due(None, None)))
    await eventually_async(lambda: stage.workers.drained == list(stage.workers.workers))


@staged
async def test_the_next_daemon_starts_the_worker_of_a_job_that_still_waits_and_no_other(stage: Stage) -> None:
    lab = stage.lab
    await lab.add()
    await lab.add()
    pools = [(await stage.supervisor.start(WorkerStart(1, job=ref), ME)).pool for ref in ("1", "2")]
    await verbs.cancel(lab.store, [1], now=lab.now)
    await stage.next_daemon()
    await eventually_async(lambda: [each.pool_id for each in stage.workers.workers.values()] == pools[1:])
    await eventually_async(lambda: stage.workers.dedication == {pools[1]: 2})
    assert [pool.id for pool in await lab.store.queries.pools()] == pools[1:]


@staged
async def test_a_pool_is_taken_up_by_its_number_while_it_is_a_clients_and_has_not_drained(stage: Stage) -> None:
    started = await stage.supervisor.start(WorkerStart(2), ME)
    detached = await stage.supervisor.start(WorkerStart(1, detach=True), ME)
    await stage.next_daemon()
    assert started.pool in stage.workers.awaiting_client
    again = await stage.supervisor.start(WorkerStart(2, pool=started.pool), "the client, come back")
    assert again.pool == started.pool
    await eventually_async(lambda: sum(each.pool_id == started.pool for each in stage.workers.workers.values()) == 2)
    assert not stage.workers.awaiting_client
    pools = {pool.id for pool in await stage.lab.store.queries.pools()}
    stage.supervisor.client_gone("the client, come back")
    await eventually_async(lambda: len(stage.workers.drained) == 2)
    for pool in (started.pool, *(pools - {started.pool}), 99):
        with pytest.raises(Refused, match="no such worker pool") as refused:
            await stage.supervisor.start(WorkerStart(2, pool=pool), ME)
        assert refused.value.code is ErrorCode.NOT_FOUND
    assert len(detached.workers) == 1


@staged
async def test_workers_that_are_stopped_finish_their_job_and_are_not_replaced(stage: Stage) -> None:
    await stage.supervisor.start(WorkerStart(3, detach=True), ME)
    stopping: Any = asyncio.ensure_future(stage.supervisor.stop(WorkerStop(count=2)))
    await eventually_async(lambda: len(stage.workers.drained) == 2)
    (pool,) = await stage.lab.store.queries.pools()
    assert pool.wanted == 1
    assert stage.workers.drained == list(stage.workers.workers)[:2]
    stopping.cancel()
    await asyncio.gather(stopping, return_exceptions=True)


@staged
async def test_stop_now_ends_the_jobs_and_names_a_worker_that_does_not_go(stage: Stage) -> None:
    await stage.lab.add(kill_grace_ms=1)
    await stage.supervisor.start(WorkerStart(1, detach=True), ME)
    ((number, worker),) = stage.workers.workers.items()
    worker.job, worker.job_id = RunKey(1, 1), "job_1"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(supervisor, "STOP_SECONDS", 0)
        stopped = await stage.supervisor.stop(WorkerStop(now=True))
    assert (stopped.workers, stopped.remaining, stopped.left) == ([], 1, [worker.describe_leftover])
    assert stage.workers.killed == [(number, "shutdown")]


@staged
async def test_a_stop_waits_for_the_job_however_long_it_takes(stage: Stage) -> None:
    await stage.supervisor.start(WorkerStart(1, detach=True), ME)
    (worker,) = stage.workers.workers.values()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(supervisor, "STOP_SECONDS", 0)
        stopping = asyncio.ensure_future(stage.supervisor.stop(WorkerStop()))
        await eventually_async(lambda: stage.workers.drained)
        done, _ = await asyncio.wait([stopping], timeout=0.05)
        assert not done
        worker.gone.set_result(None)
        stopped = await stopping
    assert (len(stopped.workers), stopped.left, stage.workers.killed) == (1, [], [])


@staged
async def test_a_pool_that_is_asked_for_again_is_the_same_until_it_has_drained(stage: Stage) -> None:
    wanted = WorkerStart(1, request="2f1c9a52-7f6e-4c0b-9d35-0a3f5d9a7c11")
    first = await stage.supervisor.start(wanted, ME)
    again = await stage.supervisor.start(wanted, ME)
    assert (again.pool, len(stage.workers.workers)) == (first.pool, 1)
    stage.supervisor.client_gone(ME)
    await eventually_async(lambda: stage.workers.drained)
    assert (await stage.supervisor.start(wanted, ME)).pool not in (None, first.pool)


@staged
async def test_a_worker_that_dies_at_its_start_is_replaced_after_a_growing_pause(stage: Stage) -> None:
    await stage.supervisor.start(WorkerStart(1, detach=True), ME)
    (worker,) = stage.workers.workers.values()
    stage.workers.workers.clear()
    loop, pauses = asyncio.get_running_loop(), list[float]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "call_later", lambda pause, *_: pauses.append(pause))
        worker.since_ms = Clock(None).now().wall_ms
        for _ in range(9):
            stage.supervisor.reaped(worker)
        assert pauses == [0, 1, 2, 4, 8, 16, 32, 60, 60]
        worker.jobs_done = 1
        stage.supervisor.reaped(worker)
        worker.jobs_done = 0
        stage.supervisor.reaped(worker)
        assert pauses[9:] == [0, 0]
        stage.supervisor.reaped(worker)
        worker.since_ms = 0
        stage.supervisor.reaped(worker)
        assert pauses[11:] == [1, 0]
