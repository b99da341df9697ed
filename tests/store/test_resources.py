"""Slots and named resources: who fits, who is told which, and that a big job comes to its turn."""

from queuectld.store.reads.invariants import check_invariants
from tests.store import verbs
from tests.store.lab import Lab, in_lab, new


@in_lab
async def test_a_job_of_two_slots_takes_the_place_of_two(lab: Lab) -> None:
    await lab.store.intake.add_many([new(slots=2), new(slots=2), new()], now=lab.now)
    workers = await lab.hire(3)
    (first,) = (await lab.turn(free=workers)).claimed
    assert first.seq == 1
    turn = await lab.turn([lab.end(first)], workers)
    assert [each.seq for each in turn.claimed] == [2, 3]


@in_lab
async def test_slots_of_the_config_count_instead_of_workers(lab: Lab) -> None:
    await lab.store.config_set("slots", 2, now=lab.now)
    await lab.store.intake.add_many([new() for _ in range(4)], now=lab.now)
    workers = await lab.hire(4)
    await lab.restart()
    assert len((await lab.turn(free=workers)).claimed) == 2
    await lab.store.config_set("slots", 3, now=lab.now)
    assert lab.commits[-1].ready
    assert len((await lab.turn(free=workers[2:])).claimed) == 1


@in_lab
async def test_a_worker_that_ends_takes_its_slot_along(lab: Lab) -> None:
    workers = await lab.hire(2)
    await lab.store.worker_ended(workers[1], now=lab.now)
    await lab.add(id="wide", slots=2)
    await lab.add(id="small")
    assert [each.id for each in (await lab.turn(free=workers[:1])).claimed] == ["small"]
    (rule, *_) = (await lab.store.explain(1, now=lab.now)).rules
    assert (rule.rule, rule.words) == ("resources", "It needs slots=2, and there is 1 in all.")


@in_lab
async def test_a_big_job_is_not_starved_by_small_ones(lab: Lab) -> None:
    workers = await lab.hire(3)
    await lab.store.intake.add_many([new() for _ in range(2)], now=lab.now)
    small = (await lab.turn(free=workers)).claimed
    await lab.add(id="big", slots=3)
    await lab.store.intake.add_many([new() for _ in range(9)], now=lab.now)
    assert (await lab.turn(free=workers[2:])).claimed == []
    assert (await lab.turn([lab.end(small[0])], [workers[0], workers[2]])).claimed == []
    turn = await lab.turn([lab.end(small[1])], workers)
    assert [each.id for each in turn.claimed] == ["big"]
    assert (await lab.turn(free=workers[1:])).claimed == []
    assert len((await lab.turn([lab.end(turn.claimed[0])], workers)).claimed) == 3


@in_lab
async def test_who_waits_for_a_thing_keeps_no_slot_from_those_that_do_not_need_it(lab: Lab) -> None:
    await lab.store.config_set("resources", "gpu=2", now=lab.now)
    workers = await lab.hire(4)
    await lab.add(id="one", needs={"gpu": 1})
    await lab.add(id="both", needs={"gpu": 2})
    await lab.add(id="other", needs={"gpu": 1})
    await lab.add(id="plain")
    claimed = (await lab.turn(free=workers)).claimed
    # `other` would fit now, but would keep `both` waiting for ever.
    assert [each.id for each in claimed] == ["one", "plain"]
    turn = await lab.turn([lab.end(claimed[0])], [workers[0], *workers[2:]])
    assert [each.id for each in turn.claimed] == ["both"]
    turn = await lab.turn([lab.end(turn.claimed[0])], workers[2:])
    assert [each.id for each in turn.claimed] == ["other"]


@in_lab
async def test_what_can_never_fit_keeps_nothing_from_others(lab: Lab) -> None:
    await lab.store.config_set("resources", "gpu=1", now=lab.now)
    (worker,) = await lab.hire()
    await lab.add(id="two", needs={"gpu": 2})
    await lab.add(id="wide", slots=2)
    await lab.add(id="one", needs={"gpu": 1})
    assert await lab.drain(worker) == ["one"]
    await lab.hire()
    assert lab.commits[-1].ready
    assert (await lab.claim(worker)).id == "wide"


@in_lab
async def test_a_job_is_told_which_things_it_has_also_after_a_restart(lab: Lab) -> None:
    await lab.store.config_set("resources", "gpu=3,mem=16G", now=lab.now)
    workers = await lab.hire(3)
    await lab.add(needs={"gpu": 1, "mem": 4 << 30}, env={"A": "1"})
    await lab.add(needs={"gpu": 2})
    await lab.add(needs={"gpu": 2})
    first, second = (await lab.turn(free=workers)).claimed
    assert first.options.env == {
        "A": "1", "QUEUECTL_GPU": "0", "CUDA_VISIBLE_DEVICES": "0", "QUEUECTL_MEM": str(4 << 30)
    }  # fmt: skip
    assert second.options.env == {"QUEUECTL_GPU": "1,2", "CUDA_VISIBLE_DEVICES": "1,2"}
    assert (await lab.get(2)).granted == {"gpu": (1, 2)}
    await lab.restart()
    await lab.turn([lab.end(second)])
    (third,) = (await lab.turn(free=workers[2:])).claimed
    assert third.options.env["QUEUECTL_GPU"] == "1,2"


@in_lab
async def test_a_worker_of_its_own_waits_for_resources_too(lab: Lab) -> None:
    await lab.store.config_set("resources", "gpu=1", now=lab.now)
    workers = await lab.hire(2)
    await lab.add(needs={"gpu": 1})
    await lab.add(needs={"gpu": 1})
    (claimed,) = (await lab.turn(free=workers[:1])).claimed
    assert (await lab.turn(dedicated={workers[1]: 2})).claimed == []
    assert (await lab.turn([lab.end(claimed)], dedicated={workers[1]: 2})).claimed[0].seq == 2
    assert check_invariants(lab.path) == []


@in_lab
async def test_a_big_job_that_goes_or_is_paused_lets_the_others_start(lab: Lab) -> None:
    workers = await lab.hire(2)
    await lab.add()
    await lab.claim(workers[0])
    await lab.add(queue="big", slots=2)
    await lab.add(queue="big", slots=2)
    await lab.add(id="small")
    assert (await lab.turn(free=workers[1:])).claimed == []
    assert not lab.commits[-1].ready
    await verbs.cancel(lab.store, [2], now=lab.now)
    assert lab.commits[-1].ready
    assert (await lab.turn(free=workers[1:])).claimed == []
    await lab.store.queue_pause("big", True, now=lab.now)
    assert lab.commits[-1].ready
    assert (await lab.claim(workers[1])).id == "small"


@in_lab
async def test_explain_tells_amounts_as_they_are_written(lab: Lab) -> None:
    await lab.store.config_set("resources", "mem=4G,gpu=2,licence=1000", now=lab.now)
    workers = await lab.hire(4)
    for name, much in (("mem", 4 << 30), ("gpu", 3), ("licence", 1000)):
        await lab.add(id=name, needs={name: much})
    await lab.add(needs={"mem": 512 << 20, "licence": 1})
    await lab.turn(free=workers)
    (big,) = (await lab.store.explain(2, now=lab.now)).rules
    assert big.words == "It needs gpu=3, and there are 2 in all."
    short = [rule.words for rule in (await lab.store.explain(4, now=lab.now)).rules if rule.rule == "resources"]
    assert short == ["It needs licence=1, and 0 of 1000 are free.", "It needs mem=512M, and 0 of 4G are free."]
    running = await lab.get(1)
    await lab.store.set_paused(1, running.run, True, now=lab.now)
    (paused,) = (await lab.store.explain(1, now=lab.now)).rules
    assert paused.words == f"Worker w{running.worker} runs it; it is paused until it is resumed."
