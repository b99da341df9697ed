"""How many of a queue run at once and how often they start; what a restart and a rollback leave of that."""

from collections.abc import Sequence
from copy import deepcopy
from functools import partial

import pytest

from queuectl_client.protocol.vocabulary import ErrorCode, JobState
from queuectld.domain.errors import Refused
from queuectld.domain.outcome import EndKind
from queuectld.domain.retry import RetryPolicy
from queuectld.store.writer.session import Session
from queuectld.store.writes.turn import turn
from tests.store import verbs
from tests.store.lab import Lab, in_lab, new

ONCE = RetryPolicy(1, 2, 2)


@in_lab
async def test_no_more_of_a_queue_run_than_its_concurrency_also_after_a_restart(lab: Lab) -> None:
    await lab.store.queue_set("q", now=lab.now, concurrency=2)
    await lab.store.intake.add_many([new(queue="q") for _ in range(4)], now=lab.now)
    await lab.add(id="other", priority=-1)
    workers = await lab.hire(4)
    first, second, other = (await lab.turn(free=workers)).claimed
    assert [first.seq, second.seq, other.id] == [1, 2, "other"]
    await lab.restart()
    assert (await lab.turn(free=workers[3:])).claimed == []
    assert not lab.commits[-1].ready
    turn = await lab.turn([lab.end(first)], [workers[0], workers[3]])
    assert [each.seq for each in turn.claimed] == [3]
    await lab.store.queue_set("q", now=lab.now, concurrency=None)
    assert lab.commits[-1].ready
    assert [each.seq for each in (await lab.turn(free=workers[3:])).claimed] == [4]


@in_lab
async def test_a_cancelled_job_counts_until_its_worker_has_ended_it(lab: Lab) -> None:
    await lab.store.queue_set("q", now=lab.now, concurrency=1)
    await lab.add(queue="q", key="k")
    await lab.add(queue="q", key="k")
    workers = await lab.hire(2)
    claimed = await lab.claim(workers[0])
    await verbs.cancel(lab.store, [1], now=lab.now)
    await lab.restart()
    assert (await lab.turn(free=workers[1:])).claimed == []
    turn = await lab.turn([lab.end(claimed, None, signal=15, kind=EndKind.SIGNALLED)], workers[1:])
    assert [each.seq for each in turn.claimed] == [2]


@in_lab
async def test_a_worker_that_is_gone_holds_nothing_any_more(lab: Lab) -> None:
    await lab.store.queue_set("q", now=lab.now, concurrency=1)
    await lab.add(queue="q", key="k")
    await lab.add(queue="q", key="k")
    workers = await lab.hire(2)
    await lab.claim(workers[0])
    await verbs.cancel(lab.store, [1], now=lab.now)
    await lab.store.worker_ended(workers[0], now=lab.now)
    assert [each.seq for each in (await lab.turn(free=workers[1:])).claimed] == [2]


@in_lab
async def test_a_claim_that_is_given_back_makes_room(lab: Lab) -> None:
    await lab.store.queue_set("q", now=lab.now, concurrency=1)
    await lab.store.intake.add_many([new(queue="q") for _ in range(2)], now=lab.now)
    claimed = await lab.claim()
    await lab.store.return_claims([(claimed.seq, claimed.run)], now=lab.now)
    assert lab.commits[-1].ready
    assert (await lab.claim(lab.workers[0])).seq == 1


@in_lab
async def test_no_more_of_a_queue_start_within_a_minute_than_its_rate(lab: Lab) -> None:
    await lab.store.queue_set("q", now=lab.now, rate="2/m")
    await lab.store.intake.add_many([new(queue="q") for _ in range(5)], now=lab.now)
    (worker,) = await lab.hire()
    began = lab.store_ms
    assert await lab.drain(worker) == ["job_1", "job_2"]
    assert lab.store.due == (began + 60_000, None)
    await lab.restart()
    assert lab.store.due == (began + 60_000, None)
    lab.pass_time(59_999)
    assert await lab.drain(worker) == []
    lab.wall_ms += 86_400_000  # a step of the wall clock opens nothing
    assert await lab.drain(worker) == []
    lab.store_ms += 1
    assert await lab.drain(worker) == ["job_3", "job_4"]
    await lab.store.queue_set("q", now=lab.now, rate=None)
    assert await lab.drain(worker) == ["job_5"]
    assert lab.store.due == (None, None)


@in_lab
async def test_the_window_slides(lab: Lab) -> None:
    await lab.store.queue_set("q", now=lab.now, rate="2/m")
    await lab.store.intake.add_many([new(queue="q") for _ in range(4)], now=lab.now)
    (worker,) = await lab.hire()
    first = await lab.claim(worker)
    lab.pass_time(40_000)
    await lab.turn([lab.end(first)])
    assert await lab.drain(worker) == ["job_2"]
    lab.pass_time(20_000)
    assert await lab.drain(worker) == ["job_3"]
    lab.pass_time(39_999)
    assert await lab.drain(worker) == []
    lab.pass_time(1)
    assert await lab.drain(worker) == ["job_4"]


@in_lab
async def test_failures_in_a_row_pause_a_queue_which_says_why(lab: Lab) -> None:
    await lab.store.queue_set("q", now=lab.now, failure_limit=2)
    await lab.store.intake.add_many([new(queue="q", retry=ONCE) for _ in range(6)], now=lab.now)
    (worker,) = await lab.hire()
    for exit_code in (1, 0, 1):
        await lab.turn([lab.end(await lab.claim(worker), exit_code)])
    await lab.restart()
    await lab.turn([lab.end(await lab.claim(worker), None, kind=EndKind.CRASHED)])
    assert not (await lab.store.queries.queues())[-1].paused
    await lab.turn([lab.end(await lab.claim(worker), 7)])
    row = next(each for each in await lab.store.queries.queues() if each.name == "q")
    assert row.paused
    assert "2 executions in a row failed" in (row.paused_because or "")
    assert "job_4" in (row.paused_because or "")
    assert (await lab.turn(free=[worker])).claimed == []
    told = [event for event in lab.events if event.kind == "queue.changed"][-1]
    assert told.detail["paused"] is True
    assert "job_4" in told.detail["reason"]
    row = await lab.store.queue_pause("q", False, now=lab.now)
    assert (row.failures, row.paused_because) == (0, None)
    await lab.turn([lab.end(await lab.claim(worker), 1)])
    assert not next(each for each in await lab.store.queries.queues() if each.name == "q").paused


@in_lab
async def test_what_a_refused_request_changed_of_limits_is_taken_back(lab: Lab) -> None:
    await lab.store.queue_set("q", now=lab.now, concurrency=1, rate="5/m")
    await lab.add(queue="q")
    await lab.hire(2)
    claimed = await lab.claim(lab.workers[0])
    writer = lab.store._writer
    before = deepcopy(writer._session.cache.limits.queues)

    def fail(session: Session, free: Sequence[int]) -> None:
        turn(session, [lab.end(claimed)], free, {}, lab.now, 3, 0.0)
        raise Refused(ErrorCode.CONFLICT, "no")

    await lab.add(queue="q")
    for free in ([], lab.workers):
        with pytest.raises(Refused):
            await writer.submit(partial(fail, free=free))
        limits = writer._session.cache.limits
        assert limits.queues == before
        assert set(limits.allocations) == {1}
    assert (await lab.get(1)).state is JobState.PROCESSING
    assert (await lab.turn(free=lab.workers[1:])).claimed == []
