"""Bulk calls on jobs with the same key: they act as if one by one, and no job waits for a key that is free."""

from typing import Any

import pytest

from queuectl_client.protocol.permits import JobAction
from queuectl_client.protocol.vocabulary import JobState
from queuectld.domain.errors import Refused
from queuectld.domain.retry import RetryPolicy
from queuectld.store.reads.invariants import check_invariants
from queuectld.store.writes import transitions
from tests.store import verbs
from tests.store.lab import Lab, in_lab, new

S = JobState
FREEING = (JobAction.REMOVE, JobAction.CANCEL, JobAction.HOLD)


@in_lab
async def test_those_that_stay_start_whatever_was_done_to_the_others(lab: Lab) -> None:
    (worker,) = await lab.hire()
    for verb in FREEING:
        for limit in (1, 2, 3):
            first = (await lab.store.queries.last_seq()) + 1
            key = f"{verb}{limit}"
            await lab.store.intake.add_many([new(key=key, key_limit=limit) for _ in range(8)], now=lab.now)
            await lab.store.apply(verb, [first + 1, first, first + 4, first, first + 2], now=lab.now)
            ready = [seq for seq in (first + 3, *range(first + 5, first + 8)) if (await lab.get(seq)).ready]
            assert ready == [first + 3, first + 5, first + 6][:limit], (verb, limit)
            assert await lab.drain(worker) == [f"job_{first + n}" for n in (3, 5, 6, 7)], (verb, limit)


@in_lab
async def test_a_key_is_emptied_in_several_calls_while_its_queue_is_paused(lab: Lab) -> None:
    await lab.store.queue_pause("default", True, now=lab.now)
    for verb in (JobAction.HOLD, JobAction.CANCEL, JobAction.REMOVE):
        first = (await lab.store.queries.last_seq()) + 1
        await lab.store.intake.add_many([new(key="k", key_limit=1 + n % 2) for n in range(30)], now=lab.now)
        for start in range(first, first + 30, 7):
            seqs = range(start, min(start + 7, first + 30))
            assert len((await lab.store.apply(verb, seqs, now=lab.now, picked=True)).jobs) == len(seqs)
            assert check_invariants(lab.path) == []


@in_lab
async def test_the_end_of_jobs_in_hand_and_in_line_at_once_lets_the_next_in(lab: Lab) -> None:
    workers = await lab.hire(3)
    await lab.store.intake.add_many([new(key="k", key_limit=2) for _ in range(6)], now=lab.now)
    running = (await lab.turn(free=workers)).claimed
    cancelled = await verbs.cancel(lab.store, [1, 2, 3, 4], now=lab.now)
    assert [each.worker for each in cancelled] == [*(each.worker for each in running), None, None]
    assert (await lab.turn(free=workers[2:])).claimed == [], "their processes are still there"
    turn = await lab.turn([lab.end(each, None) for each in running], workers)
    assert [each.seq for each in turn.claimed] == [5, 6]


@in_lab
async def test_a_refusal_in_the_middle_undoes_all_of_it(lab: Lab) -> None:
    await lab.store.intake.add_many([new(key="k") for _ in range(4)], now=lab.now)
    with pytest.raises(Refused):
        await verbs.remove(lab.store, [1, 2, 99], now=lab.now)
    assert [(await lab.get(seq)).ready for seq in range(1, 5)] == [True, False, False, False]
    await verbs.remove(lab.store, [1], now=lab.now)
    assert (await lab.get(2)).ready, "the one that is refused is not still thought to be going on"


@in_lab
async def test_a_replaced_job_frees_its_key_for_those_that_come_with_the_new_one(lab: Lab) -> None:
    await lab.add(key="k", unique_key="u")
    jobs = [new(key="k", key_limit=2), new(unique_key="u", on_conflict="replace"), new(key="k", key_limit=2)]
    await lab.store.intake.add_many(jobs, now=lab.now)
    assert [(await lab.get(seq)).ready for seq in (2, 4)] == [True, True]


@in_lab
async def test_jobs_that_waited_for_a_replaced_one_count_for_their_key(lab: Lab) -> None:
    await lab.add(unique_key="u")
    await lab.add(key="k", key_limit=2, depends_on=(("1", "any"),))
    jobs = [new(key="k", key_limit=2), new(unique_key="u", on_conflict="replace"), new(key="k", key_limit=2)]
    await lab.store.intake.add_many(jobs, now=lab.now)
    assert [(await lab.get(seq)).ready for seq in (2, 3, 5)] == [True, True, False]


@in_lab
async def test_a_dead_job_that_is_left_out_is_not_changed_either(lab: Lab) -> None:
    for _ in range(2):
        await lab.add("old", unique_key="u", retry=RetryPolicy(1, 2, 2))
        await lab.turn([lab.end(await lab.claim(), 1)])
    how = {"changes": {"command": "new"}}
    done = await lab.store.apply(JobAction.DLQ_RETRY, [1, 2], now=lab.now, picked=True, how=how)
    assert [(job.seq, job.command) for job in done.jobs] == [(1, "new")]
    assert ((await lab.get(2)).state, (await lab.get(2)).command) == (S.DEAD, "old")


@in_lab
async def test_what_was_read_before_another_of_its_key_moved_is_never_written(lab: Lab) -> None:
    await lab.store.intake.add_many([new(key="k") for _ in range(2)], now=lab.now)

    def stale(session: Any, write: Any) -> None:
        old = transitions.snapshot(session, 2)
        assert old is not None
        first = transitions.snapshot(session, 1)
        assert first is not None
        transitions.delete_job(session, first)
        write(session, old)

    def moved(session: Any, old: transitions.JobSnapshot) -> None:
        transitions.transition(session, old, old._replace(state=S.HELD), lab.now)

    for write in (moved, transitions.delete_job):
        with pytest.raises(RuntimeError, match="job 2 has changed since it was read"):
            await lab.store._writer.submit(lambda session, write=write: stale(session, write))  # type: ignore[misc]
    assert [(await lab.get(seq)).ready for seq in (1, 2)] == [True, False]
