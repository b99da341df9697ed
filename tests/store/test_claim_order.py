"""Which job is claimed next: highest priority first, then first in, first out; over open lanes only."""

import asyncio
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from queuectl_client.protocol.vocabulary import JobState
from tests.store import verbs
from tests.store.lab import Lab, in_lab, new


@in_lab
async def test_highest_priority_first_then_first_in_first_out(lab: Lab) -> None:
    for name, priority in (("a", 0), ("b", 5), ("c", 0), ("d", 5), ("e", -1)):
        await lab.add(id=name, priority=priority)
    (worker,) = await lab.hire()
    assert await lab.drain(worker) == ["b", "d", "a", "c", "e"]


@in_lab
async def test_priorities_hold_across_queues(lab: Lab) -> None:
    await lab.add(id="a", queue="x", priority=1)
    await lab.add(id="b", queue="y", priority=2)
    await lab.add(id="c", queue="x", priority=2)
    await lab.add(id="d", queue="z")
    (worker,) = await lab.hire()
    assert await lab.drain(worker) == ["b", "c", "a", "d"]


@in_lab
async def test_a_better_job_that_comes_later_goes_first(lab: Lab) -> None:
    await lab.add(id="a")
    await lab.add(id="b")
    (worker,) = await lab.hire()
    claimed = await lab.claim(worker)
    await lab.add(id="c", priority=1)
    await lab.turn([lab.end(claimed)])
    assert await lab.drain(worker) == ["c", "b"]


@in_lab
async def test_a_better_job_goes_first_where_the_best_of_its_queue_was_known_already(lab: Lab) -> None:
    await lab.add(id="a", queue="x", priority=3)
    await lab.add(id="b", queue="y", priority=2)
    (worker,) = await lab.hire()
    claimed = await lab.claim(worker)
    assert claimed.id == "a"
    await lab.add(id="c", queue="y", priority=5)
    await lab.turn([lab.end(claimed)])
    assert await lab.drain(worker) == ["c", "b"]


@in_lab
async def test_nothing_of_a_paused_queue_is_claimed_until_it_goes_on_also_after_a_restart(lab: Lab) -> None:
    await lab.store.queue_pause("slow", True, now=lab.now)
    await lab.add(id="a", queue="slow", priority=9)
    await lab.add(id="b")
    (worker,) = await lab.hire()
    await lab.restart()
    assert await lab.drain(worker) == ["b"]
    assert (await lab.turn(dedicated={worker: 1})).claimed == []
    counts = await lab.store.counts()
    assert (counts.paused, counts.ready) == (["slow"], {"slow": 1})
    assert not lab.commits[-1].ready
    row = await lab.store.queue_pause("slow", False, now=lab.now)
    assert lab.commits[-1].ready
    assert (row.paused, row.ready, row.counts[JobState.PENDING]) == (False, 1, 1)
    assert await lab.drain(worker) == ["a"]


@in_lab
async def test_what_was_added_or_looked_past_while_its_queue_was_paused_is_claimed_when_it_goes_on(lab: Lab) -> None:
    (worker,) = await lab.hire()
    await lab.add(id="first")
    assert await lab.drain(worker) == ["first"]
    assert await lab.drain(worker) == []
    await lab.store.queue_pause("default", True, now=lab.now)
    await lab.add(id="second")
    await lab.add(id="other", queue="q")
    assert await lab.drain(worker) == ["other"]
    await lab.store.queue_pause("default", False, now=lab.now)
    assert await lab.drain(worker) == ["second"]


@in_lab
async def test_a_delayed_job_keeps_its_place_once_its_time_has_come(lab: Lab) -> None:
    await lab.add(id="later", delay_ms=1000)
    await lab.add(id="sooner")
    assert not (await lab.get(1)).ready
    assert lab.store.due == (lab.store_ms + 1000, None)
    lab.pass_time(1000)
    await lab.restart()
    (worker,) = await lab.hire()
    assert await lab.drain(worker) == ["later", "sooner"]
    assert lab.store.due == (None, None)


@in_lab
async def test_run_at_is_wall_time_and_runs_once_when_the_clock_steps(lab: Lab) -> None:
    await lab.add(id="a", run_at_ms=lab.wall_ms + 60_000)
    await lab.add(id="past", run_at_ms=lab.wall_ms - 1)
    (worker,) = await lab.hire()
    assert await lab.drain(worker) == ["past"]
    assert lab.store.due == (None, lab.wall_ms + 60_000)
    lab.store_ms += 86_400_000  # a suspended day of store time is no wall time
    assert await lab.drain(worker) == []
    lab.wall_ms += 60_000
    assert await lab.drain(worker) == ["a"]
    lab.wall_ms -= 3_600_000
    assert await lab.drain(worker) == []
    assert lab.store.due == (None, None)


@in_lab
async def test_many_that_come_due_at_once_come_in_slices(lab: Lab) -> None:
    await lab.store.intake.add_many([new(delay_ms=5) for _ in range(700)], now=lab.now)
    lab.pass_time(5)
    turn = await lab.turn()
    assert turn.more
    assert (await lab.store.counts()).ready == {"default": 500}
    assert not (await lab.turn()).more
    assert (await lab.store.counts()).ready == {"default": 700}


JOBS = st.lists(
    st.tuples(st.integers(-2, 2), st.sampled_from(["x", "y", "z"]), st.sampled_from(["add", "claim", "pause", "hold"])),
    max_size=40,
)


@settings(max_examples=25)
@given(JOBS)
def test_claims_come_as_a_sorted_list_would_give_them(steps: list[tuple[int, str, str]]) -> None:
    """Against the simplest model there is: all ready jobs in one list, sorted anew each time."""
    with tempfile.TemporaryDirectory() as folder:
        in_lab(_model(steps))(Path(folder))


def _model(steps: list[tuple[int, str, str]]) -> object:
    async def scenario(lab: Lab) -> None:
        waiting: list[tuple[int, int, str]] = []
        paused: set[str] = set()
        (worker,) = await lab.hire()
        for priority, queue, step in steps:
            if step == "pause":
                paused ^= {queue}
                await lab.store.queue_pause(queue, queue in paused, now=lab.now)
            elif step == "hold" and waiting:
                await verbs.hold(lab.store, [waiting.pop(0)[1]], now=lab.now)
            elif step == "claim":
                best = min((job for job in waiting if job[2] not in paused), default=None)
                claimed = (await lab.turn(free=[worker])).claimed
                assert [each.seq for each in claimed] == ([best[1]] if best else [])
                if best:
                    waiting.remove(best)
                    await lab.turn([lab.end(claimed[0])])
            else:
                job = await lab.add(priority=priority, queue=queue)
                waiting.append((-priority, job.seq, queue))
        await asyncio.sleep(0)

    return scenario
