"""The verbs on running jobs, queues and dead jobs, over a real store and fake hands."""

from collections.abc import Callable
from typing import Any

from queuectl_client.protocol.messages import DlqList, JobIds, QueueSet
from queuectld.domain.retry import RetryPolicy
from queuectld.scheduler.bus import Bus
from queuectld.scheduler.clock import Clock
from queuectld.scheduler.jobs.commands import JobCommands
from queuectld.scheduler.jobs.dlq import DlqService
from queuectld.scheduler.queues import QueueService
from queuectld.scheduler.settings import ConfigService
from tests.store.lab import Lab, in_lab

ONCE = RetryPolicy(1, 2, 2)


class Hands:
    """Notes what workers are asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    def signal(self, worker: int, seq: int, run: int, number: int) -> None:
        self.asked.append(("signal", worker, seq, run, number))

    def pause(self, worker: int, seq: int, run: int, *, paused: bool) -> None:
        self.asked.append(("pause" if paused else "go on", worker, seq, run))


def _clock(lab: Lab) -> Clock:
    return Clock(None, boottime=lambda: lab.store_ms, wall=lambda: lab.wall_ms)


def _jobs(lab: Lab, hands: Hands) -> JobCommands:
    clock = _clock(lab)
    config = ConfigService(lab.store, clock)
    return JobCommands(lab.store, clock, config, hands, lambda _: None, lambda: False)  # type: ignore[arg-type]


@in_lab
async def test_the_worker_of_each_running_job_is_asked_to_signal_stop_and_continue_it(lab: Lab) -> None:
    hands = Hands()
    jobs = _jobs(lab, hands)
    await lab.add()
    await lab.add()
    claimed = await lab.claim()
    run = (claimed.worker, 1, 1)
    await jobs.kill(JobIds(("all",)), "USR1")
    assert (await jobs.pause(JobIds(("all",)))).jobs[0].paused
    await jobs.pause(JobIds(("all",)))
    assert not (await jobs.resume(JobIds(("1",)))).jobs[0].paused
    assert hands.asked == [("signal", *run, 10), ("pause", *run), ("go on", *run)]


def _queues(lab: Lab, wake: Callable[[], None] = lambda: None) -> QueueService:
    return QueueService(lab.store, Bus(lab.store), _clock(lab), wake)


@in_lab
async def test_each_limit_of_a_queue_is_set_alone_and_taken_away(lab: Lab) -> None:
    queues = _queues(lab)

    async def limits(**wanted: Any) -> tuple[Any, ...]:
        (row,) = await queues.set(QueueSet("q", **wanted))
        return row.concurrency, row.rate, row.failure_limit

    assert await limits(concurrency=2) == (2, None, None)
    assert await limits(rate="5/m") == (2, "5/m", None)
    assert await limits(failure_limit=3) == (2, "5/m", 3)
    assert await limits() == (2, "5/m", 3)
    assert await limits(failure_limit=0) == (2, "5/m", None)
    assert await limits(concurrency=0, rate="none") == (None, None, None)


@in_lab
async def test_a_queue_that_is_resumed_is_open_and_asks_for_a_turn(lab: Lab) -> None:
    woken: list[None] = []
    queues = _queues(lab, lambda: woken.append(None))
    await lab.store.queue_pause("q", True, now=lab.now)
    (row,) = await queues.resume("q")
    assert (row.paused, len(woken)) == (False, 1)


@in_lab
async def test_dead_jobs_can_be_asked_for_by_when_they_died(lab: Lab) -> None:
    clock = _clock(lab)
    dlq = DlqService(lab.store, clock, ConfigService(lab.store, clock), lambda _: None)
    for _ in range(3):
        await lab.add(retry=ONCE)
        await lab.turn([lab.end(await lab.claim(), 1)])
        lab.pass_time(1000)
    died = [(await lab.get(seq)).finished_ms for seq in (1, 2, 3)]
    assert [job.seq for job in (await dlq.list(DlqList(since=died[1]))).jobs] == [2, 3]
    assert [job.seq for job in (await dlq.list(DlqList())).jobs] == [1, 2, 3]
