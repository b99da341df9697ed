"""The turn: what an end makes of a job, once; what a claim gives."""

import sqlite3

import pytest

from queuectl_client.protocol.vocabulary import ErrorCode, JobState, ReasonCode
from queuectld.domain.errors import Refused
from queuectld.domain.job import Output
from queuectld.domain.outcome import EndKind
from queuectld.domain.retry import RetryPolicy
from tests.store import verbs
from tests.store.lab import RETRY, Lab, in_lab


@in_lab
async def test_a_job_completes(lab: Lab) -> None:
    await lab.add("echo hi", queue="q", split_output=True, timeout_ms=5)
    claimed = await lab.claim()
    assert (claimed.run, claimed.attempt, claimed.queue, claimed.options.timeout_ms) == (1, 1, "q", 5)
    assert (await lab.get(1)).worker == claimed.worker
    output = {"both": Output(70_000, None, (("0/1.1.log", 0, 100), ("0/1.1.b.log", 69_000, 1000)))}
    outcome = lab.end(claimed, user_us=1, system_us=2, max_rss_kib=3, pid=4, left_behind="sleep (pid 9)", output=output)
    turn = await lab.turn([outcome])
    assert turn.stored == [(1, 1, "job_1", JobState.COMPLETED)]
    job = await lab.get(1)
    assert (job.state, job.exit_code, job.attempts, job.runs, job.worker) == (JobState.COMPLETED, 0, 0, 1, None)
    (attempt,) = await lab.store.queries.attempts(1)
    assert (attempt.run, attempt.attempt, attempt.host, attempt.reason) == (1, 1, "here", None)
    assert (attempt.user_us, attempt.system_us, attempt.max_rss_kib, attempt.pid) == (1, 2, 3, 4)
    assert (attempt.left_behind, attempt.output) == ("sleep (pid 9)", output)
    assert lab.kinds()[-2:] == ["job.processing", "job.completed"]


@in_lab
async def test_a_failing_job_waits_for_its_backoff_in_store_time_then_dies(lab: Lab) -> None:
    await lab.add("false")
    for attempt, gap_ms in ((1, 2000), (2, 4000)):
        assert (await lab.turn([lab.end(await lab.claim(), 1)])).stored[0].state is JobState.FAILED
        assert lab.store.due.store_ms == lab.store_ms + gap_ms
        assert (await lab.get(1)).attempts == attempt
        lab.pass_time(gap_ms - 1)
        assert (await lab.turn(free=lab.workers)).claimed == []
        lab.wall_ms -= 86_400_000  # the clock is set back by a day: nobody waits longer for that
        lab.pass_time(1)
        await lab.turn()
        job = await lab.get(1)
        assert (job.state, job.ready) == (JobState.FAILED, True)
    assert (await lab.turn([lab.end(await lab.claim(), 127)])).stored[0].state is JobState.DEAD
    job = await lab.get(1)
    assert (job.attempts, job.runs, job.reason) == (3, 3, "exit 127")
    assert lab.store.due.store_ms is None
    assert [each.exit_code for each in await lab.store.queries.attempts(1)] == [1, 1, 127]


@in_lab
async def test_an_event_of_an_end_tells_its_exit_code_or_its_signal(lab: Lab) -> None:
    await lab.add()
    await lab.turn([lab.end(await lab.claim(), 3)])
    await verbs.retry(lab.store, [1], now=lab.now)
    await lab.turn([lab.end(await lab.claim(), exit_code=None, kind=EndKind.SIGNALLED, signal=9)])
    told = [event.detail for event in lab.events if event.kind == "job.failed"]
    assert [(each.get("exit_code"), each.get("signal")) for each in told] == [(3, None), (None, 9)]
    assert ["exit_code" in each for each in told] == [True, False]
    assert ["signal" in each for each in told] == [False, True]


@in_lab
async def test_a_second_and_a_late_outcome_change_nothing_and_are_acknowledged(lab: Lab) -> None:
    await lab.add(retry=RetryPolicy(5, 1, 1))
    first = await lab.claim()
    await lab.turn([lab.end(first, 1)])
    assert (await lab.turn([lab.end(first, 0)])).stored == [(1, 1, "job_1", None)]
    lab.pass_time(1000)
    second = await lab.claim()
    assert second.run == 2
    before = await lab.get(1)
    told = len(lab.events)
    assert (await lab.turn([lab.end(first, 0)])).stored == [(1, 1, "job_1", None)]
    assert await lab.get(1) == before
    assert len(lab.events) == told
    assert len(await lab.store.queries.attempts(1)) == 1
    assert (await lab.turn([lab.end(second), lab.end(second, 1)])).stored[1].state is None
    assert (await lab.get(1)).state is JobState.COMPLETED
    await verbs.remove(lab.store, [1], now=lab.now)
    assert (await lab.turn([lab.end(second)])).stored == [(1, 2, None, None)]


@in_lab
async def test_a_cancelled_job_keeps_its_state_and_gets_its_attempt_once(lab: Lab) -> None:
    await lab.add()
    claimed = await lab.claim()
    (cancelled,) = await verbs.cancel(lab.store, [1], now=lab.now)
    assert (cancelled.run, cancelled.worker) == (1, claimed.worker)
    assert cancelled.job.state is JobState.CANCELLED
    with pytest.raises(Refused, match="still being ended") as refused:
        await verbs.retry(lab.store, [1], now=lab.now)
    assert refused.value.code is ErrorCode.WRONG_STATE
    outcome = lab.end(claimed, exit_code=None, kind=EndKind.SIGNALLED, signal=15)
    assert (await lab.turn([outcome])).stored == [(1, 1, "job_1", JobState.CANCELLED)]
    assert (await lab.turn([outcome])).stored == [(1, 1, "job_1", None)]
    job = await lab.get(1)
    assert (job.state, job.reason, job.reason_code) == (JobState.CANCELLED, "cancelled", ReasonCode.CANCELLED)
    assert [each.signal for each in await lab.store.queries.attempts(1)] == [15]
    assert (await verbs.retry(lab.store, [1], now=lab.now))[0].state is JobState.PENDING


@in_lab
async def test_a_worker_that_is_gone_ends_nothing_any_more(lab: Lab) -> None:
    await lab.add()
    claimed = await lab.claim()
    await verbs.cancel(lab.store, [1], now=lab.now)
    await lab.store.worker_ended(claimed.worker, now=lab.now)
    assert (await verbs.retry(lab.store, [1], now=lab.now))[0].state is JobState.PENDING


@in_lab
async def test_a_crash_is_no_failed_attempt_until_there_are_too_many(lab: Lab) -> None:
    await lab.add()
    await lab.add()
    for crash in (1, 2, 3):
        claimed = await lab.claim()
        assert claimed.seq == 1, "it goes back to its place in the queue"
        await lab.turn([lab.end(claimed, None, kind=EndKind.CRASHED, words="worker w1 went down")])
        job = await lab.get(1)
        assert (job.state, job.attempts, job.crashes, job.ready) == (JobState.PENDING, 0, crash, True)
    await lab.turn([lab.end(await lab.claim(), None, kind=EndKind.CRASHED)])
    job = await lab.get(1)
    assert job.state is JobState.DEAD
    assert job.reason is not None
    assert job.reason.startswith("crash-limit")
    assert [each.crashed for each in await lab.store.queries.attempts(1)] == [True] * 4


@in_lab
async def test_a_job_that_may_run_once_is_dead_after_a_crash(lab: Lab) -> None:
    await lab.add(once=True)
    await lab.turn([lab.end(await lab.claim(), None, kind=EndKind.CRASHED)])
    job = await lab.get(1)
    assert (job.state, (job.reason or "").split(":")[0]) == (JobState.DEAD, "interrupted")


@in_lab
async def test_a_claim_that_reached_nobody_counts_nowhere_but_fences(lab: Lab) -> None:
    await lab.add()
    lost = await lab.claim()
    await lab.store.return_claims([(lost.seq, lost.run), (lost.seq, 99)], now=lab.now)
    job = await lab.get(1)
    assert (job.state, job.runs, job.run, job.crashes, job.ready) == (JobState.PENDING, 0, 1, 0, True)
    assert (await lab.claim()).run == 2
    assert (await lab.turn([lab.end(lost)])).stored[0].state is None


@in_lab
async def test_claim_and_end_share_one_turn(lab: Lab) -> None:
    for _ in range(4):
        await lab.add()
    workers = await lab.hire(2)
    first = (await lab.turn(free=workers)).claimed
    assert [(each.seq, each.worker) for each in first] == [(1, workers[0]), (2, workers[1])]
    commits = len(lab.commits)
    turn = await lab.turn([lab.end(each) for each in first], free=reversed_(workers))
    assert [(each.seq, each.worker) for each in turn.claimed] == [(3, workers[1]), (4, workers[0])]
    assert len(lab.commits) == commits + 1


def reversed_(workers: list[int]) -> list[int]:
    """The best worker last."""
    return workers[::-1]


@in_lab
async def test_a_worker_of_one_job_takes_no_other(lab: Lab) -> None:
    await lab.add()
    mine = await lab.add()
    later = await lab.add(delay_ms=10)
    first, second = await lab.hire(2)
    turn = await lab.turn(dedicated={first: later.seq})
    assert turn.claimed == []
    turn = await lab.turn(free=[second], dedicated={first: mine.seq})
    assert [(each.seq, each.worker) for each in turn.claimed] == [(2, first), (1, second)]
    assert mine.options.retry == RETRY


@in_lab
async def test_a_pause_of_a_run_is_noted_and_ends_with_it(lab: Lab) -> None:
    await lab.add(retry=RetryPolicy(1, 2, 2))
    claimed = await lab.claim()
    assert not await lab.store.set_paused(1, claimed.run + 1, True, now=lab.now)
    assert await lab.store.set_paused(1, claimed.run, True, now=lab.now)
    assert not await lab.store.set_paused(1, claimed.run, True, now=lab.now)
    assert (await lab.get(1)).paused
    await lab.turn([lab.end(claimed, 1)])
    assert not (await lab.get(1)).paused
    assert not await lab.store.set_paused(1, claimed.run, False, now=lab.now)
    assert "job.paused" in lab.kinds()


@in_lab
async def test_what_was_due_in_a_turn_that_found_no_room_is_due_in_the_next(lab: Lab) -> None:
    (worker,) = await lab.hire()
    await lab.add(delay_ms=100)
    lab.pass_time(100)
    session = lab.store._writer._session
    flush = session.flush

    def full() -> None:
        flush()
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    session.flush = full  # type: ignore[method-assign]
    with pytest.raises(Refused) as refused:
        await lab.turn(free=[worker])
    assert refused.value.code is ErrorCode.NO_SPACE
    session.flush = flush  # type: ignore[method-assign]
    assert [claimed.id for claimed in (await lab.turn(free=[worker])).claimed] == ["job_1"]


@in_lab
async def test_a_job_that_a_crash_put_back_looks_as_if_it_had_never_begun(lab: Lab) -> None:
    await lab.add()
    claimed = await lab.claim()
    await lab.turn([lab.end(claimed, kind=EndKind.CRASHED, exit_code=None, signal=9)])
    job = await lab.get(1)
    assert (job.state, job.crashes, job.ready) == (JobState.PENDING, 1, True)
    assert (job.started_ms, job.finished_ms, job.exit_code, job.signal, job.reason) == (None,) * 5
    assert len(await lab.store.queries.attempts(1)) == 1
