"""Actions on several jobs: all jobs given by id or none, the matching ones of a selector, and dry runs."""

import pytest

from queuectl_client.protocol.permits import PERMITS, JobAction, refusal
from queuectl_client.protocol.vocabulary import JobState
from queuectld.domain.errors import Refused
from queuectld.domain.retry import RetryPolicy
from tests.store import verbs
from tests.store.lab import Lab, in_lab

ONCE = RetryPolicy(1, 2, 2)
S = JobState


async def _one_of_each(lab: Lab) -> None:
    """Jobs 1 to 5: pending, held, processing, dead, completed."""
    await lab.add(retry=ONCE)
    await lab.turn([lab.end(await lab.claim(), 3)])
    await lab.add()
    await lab.turn([lab.end(await lab.claim())])
    await lab.add()
    await lab.claim()
    await lab.add(hold=True)
    await lab.add()


def test_every_verb_has_a_permit_that_some_state_has_and_says_why_not() -> None:
    assert PERMITS.keys() == set(JobAction)
    for verb in JobAction:
        assert {refusal(verb, state) is None for state in S} == {True, False}


@in_lab
async def test_of_picked_jobs_those_are_left_out_that_it_does_not_fit(lab: Lab) -> None:
    await _one_of_each(lab)
    done = await lab.store.apply(JobAction.CANCEL, [1, 2, 3, 4, 5, 99], now=lab.now, picked=True)
    assert [job.id for job in done.jobs] == ["job_3", "job_4", "job_5"]
    assert [running.job.id for running in done.running] == ["job_3"]
    assert [(left.data or {}).get("state") for left in done.refused] == ["dead", "completed", None]
    assert "it has ended" in (done.refused[0].data or {})["why"]


@in_lab
async def test_a_look_changes_nothing_and_finds_the_same_jobs(lab: Lab) -> None:
    await _one_of_each(lab)
    told = len(lab.events)
    for verb, fits in (
        (JobAction.CANCEL, [3, 4, 5]), (JobAction.HOLD, [4, 5]), (JobAction.RELEASE, [4]), (JobAction.RETRY, [1, 2]),
        (JobAction.KILL, [3]), (JobAction.REMOVE, [1, 2, 4, 5]), (JobAction.DLQ_RETRY, [1]), (JobAction.DLQ_PURGE, [1]),
        (JobAction.MOVE, [4, 5]),
    ):  # fmt: skip
        done = await lab.store.preview(verb, [1, 2, 3, 4, 5], picked=True)
        assert [job.seq for job in done.jobs] == fits, verb
        with pytest.raises(Refused):
            await lab.store.preview(verb, [1, 2, 3, 4, 5])
    assert len(lab.events) == told
    assert [(await lab.get(seq)).state for seq in range(1, 6)] == [S.DEAD, S.COMPLETED, S.PROCESSING, S.HELD, S.PENDING]


@in_lab
async def test_of_picked_jobs_those_are_not_paused_or_resumed_twice(lab: Lab) -> None:
    for worker in await lab.hire(2):
        await lab.add()
        await lab.claim(worker)
    await lab.store.set_paused(1, (await lab.get(1)).run, True, now=lab.now)
    assert [job.seq for job in (await lab.store.preview(JobAction.PAUSE, [1, 2], picked=True)).jobs] == [2]
    done = await lab.store.preview(JobAction.RESUME, [1, 2], picked=True)
    assert [job.seq for job in done.jobs] == [1]
    assert (done.refused[0].data or {})["why"] == "it is not paused"
    assert len((await lab.store.preview(JobAction.RESUME, [1, 2])).jobs) == 2, (
        "one that is named may be asked for it twice"
    )


@in_lab
async def test_of_two_that_want_one_unique_key_the_first_has_it(lab: Lab) -> None:
    for _ in range(2):
        await lab.add(unique_key="k")
        await lab.turn([lab.end(await lab.claim())])
    done = await lab.store.apply(JobAction.RETRY, [1, 2], now=lab.now, picked=True)
    assert [job.seq for job in done.jobs] == [1]
    assert (done.refused[0].data or {})["why"] == "job job_1 now has its unique key"
    assert (await lab.get(2)).state is S.COMPLETED


@in_lab
async def test_a_failed_job_that_has_its_own_unique_key_is_retried_at_once(lab: Lab) -> None:
    await lab.add(unique_key="k")
    await lab.turn([lab.end(await lab.claim(), 1)])
    (job,) = await verbs.retry(lab.store, [1], now=lab.now)
    assert (job.state, job.ready) == (S.PENDING, True)


@in_lab
async def test_dead_jobs_are_changed_and_run_again_one_after_the_other(lab: Lab) -> None:
    for _ in range(3):
        await lab.add(retry=ONCE)
        await lab.turn([lab.end(await lab.claim(), 3)])
    await lab.store.apply(JobAction.DLQ_PURGE, [2], now=lab.now)
    how = {"changes": {"command": "true now"}, "delay_ms": lambda index: index * 1000}
    done = await lab.store.apply(JobAction.DLQ_RETRY, [1, 2, 3], now=lab.now, picked=True, how=how)
    assert [(job.seq, job.command) for job in done.jobs] == [(1, "true now"), (3, "true now")]
    assert [job.due_ms for job in done.jobs] == [None, lab.store_ms + 1000], "no gap for the one that is gone"
