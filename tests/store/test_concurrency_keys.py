"""Concurrency keys: jobs with the same key do not run at once."""

import pytest

from queuectl_client.protocol.vocabulary import JobState
from queuectld.store.reads.invariants import check_invariants
from tests.store import verbs
from tests.store.lab import Lab, in_lab, new


@in_lab
async def test_one_of_a_key_runs_at_a_time_in_order(lab: Lab) -> None:
    await lab.store.intake.add_many([new(key="k", queue=f"q{n % 2}") for n in range(3)], now=lab.now)
    await lab.add(id="free")
    workers = await lab.hire(4)
    first, free = (await lab.turn(free=workers)).claimed
    assert (first.seq, free.id) == (1, "free")
    assert [(await lab.get(seq)).ready for seq in (2, 3)] == [False, False]
    await lab.restart()
    assert (await lab.turn(free=workers[2:])).claimed == []
    turn = await lab.turn([lab.end(first, 1)], workers[2:])
    assert [each.seq for each in turn.claimed] == [2]
    lab.pass_time(2000)  # the first one is to be tried again, and waits for its key now
    assert (await lab.turn(free=workers[3:])).claimed == []
    turn = await lab.turn([lab.end(turn.claimed[0])], workers[3:])
    assert [each.seq for each in turn.claimed] == [1]


@in_lab
async def test_a_key_may_have_a_higher_limit(lab: Lab) -> None:
    await lab.store.intake.add_many([new(key="k", key_limit=2) for _ in range(5)], now=lab.now)
    workers = await lab.hire(4)
    claimed = (await lab.turn(free=workers)).claimed
    assert [each.seq for each in claimed] == [1, 2]
    turn = await lab.turn([lab.end(each) for each in claimed], workers)
    assert [each.seq for each in turn.claimed] == [3, 4]


@in_lab
async def test_a_better_job_goes_before_one_that_was_let_in_already(lab: Lab) -> None:
    await lab.add(id="low", key="k")
    await lab.add(id="high", key="k", priority=5)
    assert not (await lab.get(1)).ready
    await lab.store.intake.add_many(
        [new(id="higher", key="k", priority=7), new(id="last", key="k", priority=-1)], now=lab.now
    )
    (worker,) = await lab.hire()
    assert await lab.drain(worker) == ["higher", "high", "low", "last"]


@in_lab
async def test_a_new_priority_changes_who_of_the_key_comes_next(lab: Lab) -> None:
    for name in "abc":
        await lab.add(id=name, key="k")
    await lab.store.edit(3, {"priority": 1}, now=lab.now)
    assert [(await lab.get(seq)).ready for seq in (1, 2, 3)] == [False, False, True]
    await lab.store.edit(3, {"priority": -1}, now=lab.now)
    await lab.store.edit(2, {"key": None}, now=lab.now)
    assert [(await lab.get(seq)).ready for seq in (1, 2, 3)] == [True, True, False]
    (worker,) = await lab.hire()
    assert await lab.drain(worker) == ["a", "b", "c"]


@pytest.mark.parametrize("verb", ["cancel", "hold", "remove"])
def test_who_goes_makes_room_for_the_next_of_its_key(verb: str, tmp_path: object) -> None:
    @in_lab
    async def scenario(lab: Lab) -> None:
        await lab.add(key="k")
        await lab.add(key="k")
        await getattr(verbs, verb)(lab.store, [1], now=lab.now)
        assert (await lab.get(2)).ready

    scenario(tmp_path)  # type: ignore[arg-type]


@in_lab
async def test_jobs_that_wait_for_something_else_hold_no_key(lab: Lab) -> None:
    await lab.add(id="later", key="k", delay_ms=1000)
    await lab.add(id="held", key="k", hold=True)
    await lab.add(id="child", key="k", depends_on=(("held", "any"),))
    await lab.add(id="now", key="k")
    (worker,) = await lab.hire()
    claimed = await lab.claim(worker)
    assert claimed.id == "now"
    lab.pass_time(1000)
    await lab.turn()
    await verbs.release(lab.store, [2], now=lab.now)
    assert (await lab.get(1)).run_at_ms is not None
    await lab.turn([lab.end(claimed)])
    assert await lab.drain(worker) == ["later", "held", "child"]


@in_lab
async def test_a_wall_time_that_has_come_is_not_asked_for_again_while_the_key_is_busy(lab: Lab) -> None:
    await lab.add(key="k")
    await lab.add(key="k", run_at_ms=lab.wall_ms + 1000)
    claimed = await lab.claim()
    lab.pass_time(1000)
    await lab.turn()
    assert lab.store.due == (None, None)
    await lab.turn([lab.end(claimed)])
    assert (await lab.get(2)).ready


@in_lab
async def test_many_of_one_key_in_a_batch_are_let_in_one_by_one(lab: Lab) -> None:
    token = await lab.store.intake.open_upload(now=lab.now)
    await lab.store.intake.add_to_upload(token, [new(key="k") for _ in range(700)], now=lab.now)
    await lab.store.intake.commit_upload(token, now=lab.now)
    while (await lab.turn()).more:
        pass
    assert (await lab.store.counts()).ready == {"default": 1}
    assert (await lab.store.counts()).by_state[JobState.PENDING] == 700
    assert check_invariants(lab.path) == []
    assert (await lab.claim()).seq == 1
