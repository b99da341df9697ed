"""Moving and editing jobs, changing their dependencies, and explaining them."""

from pathlib import Path

import pytest

from queuectl_client.protocol.vocabulary import ErrorCode, JobState
from queuectld.domain.errors import Refused
from queuectld.store.records import MoveTarget
from queuectld.store.writes import explaining
from tests.store import verbs
from tests.store.lab import Lab, in_lab, new


async def _order(lab: Lab, *names: str) -> str:
    for name in names:
        await lab.add(id=name)
    return "".join(names)


@in_lab
async def test_first_last_and_before(lab: Lab) -> None:
    await _order(lab, *"abcde")
    await lab.store.move(4, MoveTarget("first"), now=lab.now)
    await lab.store.move(1, MoveTarget("last"), now=lab.now)
    await lab.add(id="f")
    await lab.store.move(5, MoveTarget(before=2), now=lab.now)
    await lab.store.move(3, MoveTarget(before=2), now=lab.now)
    await lab.restart()
    (worker,) = await lab.hire()
    assert "".join(await lab.drain(worker)) == "decbaf"


@in_lab
async def test_what_is_moved_to_the_end_again_and_again_is_before_what_is_added_next(lab: Lab) -> None:
    names = [f"n{number:03}" for number in range(120)]
    await _order(lab, *names)
    for seq in range(1, 121):
        await lab.store.move(seq, MoveTarget("last"), now=lab.now)
    await lab.add(id="next")
    assert await lab.drain((await lab.hire())[0]) == [*names, "next"]


@in_lab
async def test_first_is_first_whatever_the_priorities(lab: Lab) -> None:
    await lab.add(id="low", priority=-5)
    await lab.add(id="high", priority=9)
    await lab.add(id="mid")
    assert (await lab.store.move(1, MoveTarget("first"), now=lab.now)).priority == 9
    assert (await lab.store.move(2, MoveTarget("last"), now=lab.now)).priority == 0
    (worker,) = await lab.hire()
    assert await lab.drain(worker) == ["low", "mid", "high"]


@in_lab
async def test_room_is_made_where_there_is_none(lab: Lab) -> None:
    names = [f"n{number:03}" for number in range(150)]
    await _order(lab, *names, "end")
    end = 151
    for seq in range(1, 151):
        await lab.store.move(seq, MoveTarget(before=end), now=lab.now)
    assert await lab.drain((await lab.hire())[0]) == [*names, "end"]


@in_lab
async def test_to_another_queue_also_before_a_job_of_it(lab: Lab) -> None:
    await lab.add(id="a")
    await lab.add(id="b", queue="q")
    await lab.add(id="c", queue="q", hold=True)
    await lab.store.queue_pause("default", True, now=lab.now)
    assert (await lab.store.move(1, MoveTarget(before=2), now=lab.now)).queue == "q"
    moved = await lab.store.move(3, MoveTarget("first", queue="q"), now=lab.now)
    assert moved.state is JobState.HELD
    await verbs.release(lab.store, [3], now=lab.now)
    assert await lab.drain((await lab.hire())[0]) == ["c", "a", "b"]
    with pytest.raises(Refused) as refused:
        await lab.store.move(1, MoveTarget("first"), now=lab.now)
    assert refused.value.code is ErrorCode.WRONG_STATE


@in_lab
async def test_a_job_of_a_key_that_is_moved_goes_before_the_others_of_it(lab: Lab) -> None:
    for name in "abc":
        await lab.add(id=name, key="k")
    await lab.store.move(3, MoveTarget("first"), now=lab.now)
    assert await lab.drain((await lab.hire())[0]) == ["c", "a", "b"]


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("keys", ["kkkk", "kjkj", "----"])
def test_jobs_that_are_not_ready_and_are_moved_keep_the_order_of_the_moves(
    tmp_path: Path, keys: str, restart: bool
) -> None:
    """In line of a key, or delayed: none of them is in the queue that jobs are claimed from."""

    @in_lab
    async def scenario(lab: Lab) -> None:
        for key in "kj":
            await lab.add(id=f"holds-{key}", key=key)
        held = [await lab.claim(worker) for worker in await lab.hire(2)]
        for name, key in zip("abcd", keys, strict=True):
            await lab.add(id=name, key=None if key == "-" else key, delay_ms=500 if key == "-" else 0)
        for end, seq in (("last", 4), ("last", 3), ("first", 6), ("first", 5)):
            await lab.store.move(seq, MoveTarget(end), now=lab.now)
            if restart:
                await lab.restart()
        lab.pass_time(1000)
        await lab.turn([lab.end(each) for each in held])
        assert "".join(await lab.drain(lab.workers[0])) == "cdba"

    scenario(tmp_path)


@in_lab
async def test_what_a_job_waits_for_can_be_changed_but_not_into_a_circle(lab: Lab) -> None:
    await _order(lab, "a", "b")
    await lab.add(id="c", depends_on=(("a", "completed"),))
    with pytest.raises(Refused, match="dependency cycle"):
        await lab.store.edit(1, {"depends_on": (("c", "any"),)}, now=lab.now)
    job = await lab.store.edit(3, {"depends_on": (("b", "any"),)}, now=lab.now)
    assert (job.state, job.depends_on) == (JobState.BLOCKED, (("b", "any"),))
    assert (await lab.store.edit(1, {"depends_on": (("c", "any"),)}, now=lab.now)).state is JobState.BLOCKED
    assert await lab.drain((await lab.hire())[0]) == ["b", "c", "a"]


@in_lab
async def test_what_a_job_waits_for_cannot_be_changed_once_it_has_run(lab: Lab) -> None:
    await lab.add(id="last", hold=True)
    await lab.add(id="failed")
    await lab.turn([lab.end(await lab.claim(), 1)])
    await lab.add(id="dead", retry=new().options.retry._replace(max_retries=1))
    await lab.turn([lab.end(await lab.claim(), 1)])
    for seq in (2, 3):
        with pytest.raises(Refused, match="it no longer waits for other jobs"):
            await lab.store.edit(seq, {"depends_on": (("last", "any"),)}, now=lab.now)


@in_lab
async def test_an_edit_of_a_dead_job_counts_when_it_is_retried(lab: Lab) -> None:
    await lab.add(retry=new().options.retry._replace(max_retries=1))
    await lab.turn([lab.end(await lab.claim(), 1)])
    job = await lab.store.edit(1, {"command": "echo", "priority": 4, "retry": {"max_retries": 2}}, now=lab.now)
    assert (job.state, job.options.retry.max_retries, job.priority) == (JobState.DEAD, 2, 4)
    await verbs.dlq_retry(lab.store, [1], now=lab.now)
    assert (await lab.claim(lab.workers[0])).command == "echo"


@in_lab
async def test_a_new_time_takes_the_place_of_the_old_one(lab: Lab) -> None:
    await lab.add(delay_ms=5000)
    assert (await lab.store.edit(1, {"delay_ms": 0}, now=lab.now)).ready
    assert lab.store.due == (None, None)
    job = await lab.store.edit(1, {"run_at_ms": lab.wall_ms + 9}, now=lab.now)
    assert (job.ready, lab.store.due) == (False, (None, lab.wall_ms + 9))


@in_lab
async def test_dead_jobs_run_again_one_after_the_other(lab: Lab) -> None:
    retry = new().options.retry._replace(max_retries=1)
    await lab.store.intake.add_many([new(retry=retry) for _ in range(3)], now=lab.now)
    (worker,) = await lab.hire()
    for _ in range(3):
        await lab.turn([lab.end(await lab.claim(worker), 1)])
    jobs = await verbs.dlq_retry(lab.store, [1, 2, 3], now=lab.now, delay_ms=lambda index: index * 1000)
    assert [job.ready for job in jobs] == [True, False, False]
    assert [job.run_at_ms for job in jobs] == [None, lab.wall_ms + 1000, lab.wall_ms + 2000]
    lab.pass_time(1000)
    assert await lab.drain(worker) == ["job_1", "job_2"]


async def _rules(lab: Lab, seq: int) -> list[str]:
    return [rule.rule for rule in (await lab.store.explain(seq, now=lab.now)).rules]


@in_lab
async def test_explain_names_every_rule_and_the_place_in_line(lab: Lab) -> None:
    await lab.add(id="a")
    assert await _rules(lab, 1) == ["workers"]
    workers = await lab.hire(2)
    told = await lab.store.explain(1, now=lab.now)
    assert (told.rules, told.position, told.starts_ms) == ([], 1, lab.wall_ms)
    await lab.add(id="b", key="k")
    await lab.add(id="c", key="k", queue="q")
    assert await _rules(lab, 2) == ["position"]
    told = await lab.store.explain(3, now=lab.now)
    assert [(rule.rule, rule.jobs) for rule in told.rules] == [("key", ("b",))]
    await lab.add(id="d", queue="q", delay_ms=500)
    await lab.add(id="e", depends_on=(("d", "completed"),), hold=True)
    await lab.store.queue_pause("q", True, now=lab.now)
    assert await _rules(lab, 4) == ["delay", "paused"]
    assert await _rules(lab, 5) == ["held", "dependency"]
    assert (await lab.store.explain(5, now=lab.now)).rules[1].jobs == ("d",)
    claimed = await lab.claim(workers[0])
    assert await _rules(lab, 1) == ["running"]
    await lab.turn([lab.end(claimed)])
    assert await _rules(lab, 1) == ["ended"]


@in_lab
async def test_explain_tells_of_limits_and_when_they_open(lab: Lab) -> None:
    await lab.store.config_set("resources", "gpu=1", now=lab.now)
    await lab.store.queue_set("q", now=lab.now, rate="1/m", concurrency=1)
    await lab.store.intake.add_many([new(queue="q") for _ in range(3)], now=lab.now)
    workers = await lab.hire(3)
    claimed = await lab.claim(workers[0])
    told = await lab.store.explain(3, now=lab.now)
    assert [rule.rule for rule in told.rules] == ["concurrency", "rate", "position"]
    await lab.turn([lab.end(claimed)])
    told = await lab.store.explain(3, now=lab.now)
    assert [rule.rule for rule in told.rules] == ["rate", "position"]
    assert (told.starts_ms, told.position) == (lab.wall_ms + 120_000, 2)
    await lab.add(id="gpu1", needs={"gpu": 1})
    await lab.claim(workers[0])
    await lab.add(id="gpu2", needs={"gpu": 1})
    await lab.add(id="never", needs={"gpu": 5})
    await lab.add(id="wide", slots=3)
    await lab.add(id="small")
    assert await _rules(lab, 5) == ["resources"]
    assert "5" in (await lab.store.explain(6, now=lab.now)).rules[0].words
    assert await _rules(lab, 7) == ["resources", "position"]
    assert await _rules(lab, 8) == ["reserved", "position"]


def test_explain_counts_the_jobs_ahead_up_to_a_limit_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explaining, "MAX_COUNTED", 2)

    @in_lab
    async def scenario(lab: Lab) -> None:
        await lab.store.intake.add_many([new() for _ in range(4)], now=lab.now)
        told = [await lab.store.explain(seq, now=lab.now) for seq in (1, 2, 3, 4)]
        assert [(each.position, each.exact) for each in told] == [(1, True), (2, True), (3, False), (3, False)]

    scenario(tmp_path)


@in_lab
async def test_explain_tells_of_a_whole_batch(lab: Lab) -> None:
    await lab.store.intake.add_many([new(batch="b"), new(batch="b")], now=lab.now)
    await lab.add(depends_on=(("batch:b", "any"),))
    (rule, _) = (await lab.store.explain(3, now=lab.now)).rules
    assert (rule.rule, rule.jobs) == ("dependency", ("batch:b",))
    assert "2 jobs have not ended" in rule.words
