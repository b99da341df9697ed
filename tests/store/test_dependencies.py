"""Jobs that wait for others, and what becomes of them."""

from pathlib import Path

import pytest

from queuectl_client.protocol.vocabulary import ErrorCode, JobState
from queuectld.domain.errors import Refused
from queuectld.domain.job import Job
from queuectld.domain.retry import RetryPolicy
from queuectld.store.writes import dependencies
from tests.store import verbs
from tests.store.lab import Lab, in_lab, new

ONCE = RetryPolicy(1, 2, 2)


@in_lab
async def test_a_child_runs_when_all_its_parents_have_ended_well(lab: Lab) -> None:
    await lab.add(id="a")
    await lab.add(id="b")
    child = await lab.add(id="c", priority=9, depends_on=(("a", "completed"), ("2", "any")))
    assert (child.state, child.depends_on) == (JobState.BLOCKED, (("a", "completed"), ("b", "any")))
    (worker,) = await lab.hire()
    assert await lab.drain(worker) == ["a", "b", "c"]
    assert (await lab.get(3)).depends_on == (("a", "completed"), ("b", "any"))


@in_lab
async def test_what_can_no_longer_come_true_is_cancelled_down_the_line(lab: Lab) -> None:
    await lab.add(id="a", retry=ONCE)
    await lab.add(id="b", depends_on=(("a", "completed"),))
    await lab.add(id="c", depends_on=(("b", "completed"),))
    await lab.add(id="rescue", depends_on=(("a", "dead"), ("b", "dead")))
    turn = await lab.turn([lab.end(await lab.claim(), 1)], lab.workers)
    assert [each.id for each in turn.claimed] == ["rescue"]
    states = [(await lab.get(seq)).state for seq in (1, 2, 3)]
    assert states == [JobState.DEAD, JobState.CANCELLED, JobState.CANCELLED]
    assert ((await lab.get(2)).reason or "").startswith("dependency a ")
    assert ((await lab.get(3)).reason or "").startswith("dependency b ")
    assert lab.kinds().count("job.cancelled") == 2


@in_lab
async def test_a_failed_parent_is_still_waited_for(lab: Lab) -> None:
    await lab.add(id="a")
    await lab.add(id="b", depends_on=(("a", "completed"),))
    await lab.turn([lab.end(await lab.claim(), 1)])
    assert (await lab.get(2)).state is JobState.BLOCKED


@in_lab
async def test_a_parent_that_has_ended_already_decides_at_once(lab: Lab) -> None:
    await lab.add(id="a")
    await lab.turn([lab.end(await lab.claim())])
    assert (await lab.add(depends_on=(("a", "completed"),))).state is JobState.PENDING
    hopeless = await lab.add(depends_on=(("a", "dead"),))
    assert hopeless.state is JobState.CANCELLED
    assert (hopeless.reason or "").startswith("dependency a ")
    assert hopeless.finished_ms == lab.wall_ms
    for unknown in ("nobody", "9" * 40):
        with pytest.raises(Refused, match=unknown) as refused:
            await lab.add(depends_on=((unknown, "any"),))
        assert refused.value.code is ErrorCode.NOT_FOUND


@in_lab
async def test_cancelling_or_removing_a_parent_is_its_end(lab: Lab) -> None:
    await lab.add(id="a")
    await lab.add(id="b", depends_on=(("a", "any"),))
    await lab.add(id="c", depends_on=(("b", "completed"),))
    await verbs.cancel(lab.store, [1], now=lab.now)
    assert (await lab.get(2)).state is JobState.PENDING
    await verbs.remove(lab.store, [2], now=lab.now)
    assert (await lab.get(3)).state is JobState.CANCELLED


@in_lab
async def test_a_held_child_waits_for_both(lab: Lab) -> None:
    await lab.add(id="a")
    await lab.add(id="b", hold=True, depends_on=(("a", "any"),))
    assert (await lab.get(2)).state is JobState.HELD
    assert (await verbs.release(lab.store, [2], now=lab.now))[0].state is JobState.BLOCKED
    await verbs.hold(lab.store, [2], now=lab.now)
    (worker,) = await lab.hire()
    assert await lab.drain(worker) == ["a"]
    assert (await lab.get(2)).state is JobState.HELD
    assert (await verbs.release(lab.store, [2], now=lab.now))[0].state is JobState.PENDING


@in_lab
async def test_a_cancelled_child_waits_for_nobody(lab: Lab) -> None:
    await lab.add(id="a")
    await lab.add(id="b", depends_on=(("a", "any"),))
    await verbs.cancel(lab.store, [2], now=lab.now)
    (worker,) = await lab.hire()
    assert await lab.drain(worker) == ["a"]
    assert (await lab.get(2)).state is JobState.CANCELLED


@in_lab
async def test_many_children_are_told_in_slices_also_after_a_restart(lab: Lab) -> None:
    await lab.add(id="a")
    await lab.store.intake.add_many([new(depends_on=(("a", "completed"),)) for _ in range(1200)], now=lab.now)
    claimed = await lab.claim()
    turn = await lab.turn([lab.end(claimed)])
    assert turn.more
    counts = (await lab.store.counts()).by_state
    assert (counts[JobState.BLOCKED], counts[JobState.PENDING]) == (700, 500)
    await lab.restart()
    assert (await lab.turn()).more
    assert not (await lab.turn()).more
    assert (await lab.store.counts()).ready == {"default": 1200}


@in_lab
async def test_children_left_over_by_a_cancel_ask_for_a_turn(lab: Lab) -> None:
    await lab.add(id="a")
    await lab.store.intake.add_many([new(depends_on=(("a", "completed"),)) for _ in range(600)], now=lab.now)
    await verbs.cancel(lab.store, [1], now=lab.now)
    assert lab.commits[-1].ready
    await lab.turn()
    assert not lab.commits[-1].ready
    assert (await lab.store.counts()).by_state[JobState.CANCELLED] == 601


def test_who_waits_for_whom_is_followed_through_each_job_once_up_to_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @in_lab
    async def scenario(lab: Lab) -> None:
        await lab.add(id="free")
        level: list[str] = []
        for number in range(3):
            on = tuple((each, "any") for each in level)
            level = [(await lab.add(id=f"{side}{number}", depends_on=on)).id for side in "ab"]
        top = await lab.add(id="top", depends_on=tuple((each, "any") for each in level))
        monkeypatch.setattr(dependencies, "MAX_VISITED", 7)
        await lab.store.edit(1, {"depends_on": (("top", "any"),)}, now=lab.now)
        monkeypatch.setattr(dependencies, "MAX_VISITED", 6)
        with pytest.raises(Refused, match="too many jobs depend on one another") as refused:
            await lab.store.edit(1, {"depends_on": ((top.id, "any"),)}, now=lab.now)
        assert refused.value.code is ErrorCode.TOO_LARGE

    scenario(tmp_path)


def states(jobs: list[Job]) -> list[JobState]:
    return [job.state for job in jobs]


@in_lab
async def test_a_chain_that_is_retried_runs_one_after_the_other(lab: Lab) -> None:
    await lab.add(id="a")
    await lab.add(id="b", depends_on=(("a", "completed"),))
    await lab.add(id="c", depends_on=(("b", "completed"), ("a", "any")))
    await verbs.cancel(lab.store, [1, 2, 3], now=lab.now)
    retried = await verbs.retry(lab.store, [3, 2, 1], now=lab.now)
    assert states(retried) == [JobState.BLOCKED, JobState.BLOCKED, JobState.PENDING]
    (worker,) = await lab.hire()
    assert await lab.drain(worker) == ["a", "b", "c"]


@in_lab
async def test_a_retried_job_waits_for_a_parent_that_has_not_ended_and_for_no_other(lab: Lab) -> None:
    await lab.add(id="a")
    await lab.add(id="gone")
    await lab.add(id="b", depends_on=(("a", "completed"), ("gone", "any")))
    await verbs.cancel(lab.store, [1, 3], now=lab.now)
    await verbs.remove(lab.store, [2], now=lab.now)
    (alone,) = await verbs.retry(lab.store, [3], now=lab.now)
    assert alone.state is JobState.PENDING
    await verbs.cancel(lab.store, [3], now=lab.now)
    await verbs.retry(lab.store, [1], now=lab.now)
    (waiting,) = await verbs.retry(lab.store, [3], now=lab.now)
    assert waiting.state is JobState.BLOCKED
    await verbs.cancel(lab.store, [1], now=lab.now)
    assert (await lab.get(3)).state is JobState.CANCELLED


@in_lab
async def test_retried_jobs_that_had_waited_for_each_other_at_different_times_make_no_circle(lab: Lab) -> None:
    await lab.add(id="a", batch="x")
    await lab.turn([lab.end(await lab.claim())])
    await lab.add(id="b", depends_on=(("batch:x", "completed"),))
    await lab.turn([lab.end(await lab.claim())])
    await lab.add(id="c", depends_on=(("b", "completed"),), batch="x")
    await lab.turn([lab.end(await lab.claim())])
    retried = await verbs.retry(lab.store, [1, 2, 3], now=lab.now)
    assert states(retried) == [JobState.PENDING, JobState.BLOCKED, JobState.PENDING]
    (worker,) = await lab.hire()
    assert await lab.drain(worker) == ["a", "c", "b"]


@in_lab
async def test_a_dead_chain_that_is_retried_with_a_rate_runs_one_after_the_other(lab: Lab) -> None:
    await lab.add(id="a", retry=ONCE)
    await lab.add(id="b", retry=ONCE, depends_on=(("a", "any"),))
    for _ in "ab":
        await lab.turn([lab.end(await lab.claim(), 1)])
    retried = await verbs.dlq_retry(lab.store, [2, 1], now=lab.now)
    assert states(retried) == [JobState.BLOCKED, JobState.PENDING]


@in_lab
async def test_what_a_retried_parent_ended_with_before_does_not_count(lab: Lab) -> None:
    """The parent is retried before all of its children have been told of its end."""
    await lab.add(id="a", retry=ONCE)
    for _ in range(3):
        await lab.add(depends_on=(("a", "completed"),))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dependencies.resolve, "__defaults__", (1,))
        await lab.turn([lab.end(await lab.claim(), 1)])
        assert states([await lab.get(seq) for seq in (2, 3, 4)]).count(JobState.CANCELLED) == 1
        retried = await verbs.retry(lab.store, [1, 2], now=lab.now)
    assert states(retried) == [JobState.PENDING, JobState.BLOCKED]
    assert states([await lab.get(seq) for seq in (3, 4)]) == [JobState.CANCELLED] * 2
