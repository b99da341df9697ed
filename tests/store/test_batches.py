"""Batches: invisible until the commit, there at once afterwards, gone when nobody commits them."""

import pytest

from queuectl_client.protocol.vocabulary import ErrorCode, JobState
from queuectld.domain.errors import Refused
from queuectld.scheduler.jobs.selection import resolve_all
from queuectld.store.reads.invariants import check_invariants
from queuectld.store.records import ListQuery
from tests.store import verbs
from tests.store.lab import Lab, in_lab, new


async def _visible(lab: Lab) -> list[str]:
    return [job.id for job in (await lab.store.queries.page(ListQuery())).jobs]


@in_lab
async def test_an_open_batch_is_seen_by_nobody(lab: Lab) -> None:
    await lab.add(id="before")
    token = await lab.store.intake.open_upload(now=lab.now)
    added = await lab.store.intake.add_to_upload(token, [new(id="in", priority=9), new(delay_ms=5)], now=lab.now)
    await lab.add(id="after")
    assert await _visible(lab) == ["before", "after"]
    assert (await lab.store.counts()).by_state[JobState.PENDING] == 2
    assert await verbs.find(lab.store, "in") is None
    assert await verbs.find(lab.store, str(added.seqs[1])) is None
    assert await lab.store.queries.get(added.seqs[0]) is None
    assert await lab.store.queries.many(added.seqs) == []
    assert await resolve_all(lab.store, ["all"]) == [1, 4]
    assert lab.store.due == (None, None)
    assert "jobs.added" not in lab.kinds()
    with pytest.raises(Refused) as refused:
        await verbs.cancel(lab.store, added.seqs, now=lab.now)
    assert refused.value.code is ErrorCode.NOT_FOUND
    with pytest.raises(Refused, match="depend"):
        await lab.add(depends_on=(("in", "any"),))
    with pytest.raises(Refused, match="taken"):
        await lab.add(id="in")
    (worker,) = await lab.hire()
    lab.pass_time(5)
    assert await lab.drain(worker) == ["before", "after"]
    summary = await lab.store.intake.commit_upload(token, now=lab.now)
    assert summary == (2, 2, 3)
    assert (await lab.store.counts()).by_state[JobState.PENDING] == 2
    assert lab.commits[-1].ready
    assert lab.kinds()[-1] == "jobs.added"
    assert await lab.drain(worker) == ["in", "job_3"]


@in_lab
async def test_one_that_waits_for_a_later_one_of_its_batch_does_so_although_another_parent_has_ended(lab: Lab) -> None:
    await lab.add(id="first")
    token = await lab.store.intake.open_upload(now=lab.now)
    both = (("first", "any"), ("later", "any"))
    await lab.store.intake.add_to_upload(token, [new(id="child", depends_on=both)], now=lab.now)
    assert check_invariants(lab.path) == [], "it waits for one that has not come, and that is in order"
    await lab.turn([lab.end(await lab.claim())])
    await lab.store.intake.add_to_upload(token, [new(id="later")], now=lab.now)
    await lab.store.intake.commit_upload(token, now=lab.now)
    assert await lab.drain(lab.workers[0]) == ["later", "child"]


@in_lab
async def test_one_whose_parents_have_all_ended_before_the_commit_starts_with_it(lab: Lab) -> None:
    await lab.add(id="first")
    token = await lab.store.intake.open_upload(now=lab.now)
    await lab.store.intake.add_to_upload(
        token, [new(id="child", depends_on=(("first", "completed"),)), new()], now=lab.now
    )
    await lab.turn([lab.end(await lab.claim())])
    await lab.store.intake.commit_upload(token, now=lab.now)
    assert await lab.drain(lab.workers[0]) == ["child", "job_3"]


@in_lab
async def test_a_committed_batch_comes_into_its_lanes_in_slices_also_after_a_restart(lab: Lab) -> None:
    token = await lab.store.intake.open_upload(now=lab.now)
    for _ in range(3):
        await lab.store.intake.add_to_upload(token, [new(queue="q")] * 400, now=lab.now)
        await lab.add()
    await lab.store.intake.commit_upload(token, now=lab.now)
    counts = await lab.store.counts()
    assert counts.by_state[JobState.PENDING] == 1203
    assert counts.ready == {"default": 3}
    await verbs.cancel(lab.store, [1], now=lab.now)
    await verbs.hold(lab.store, [2], now=lab.now)
    assert (await lab.turn()).more
    assert (await lab.store.counts()).ready == {"default": 3, "q": 500}
    await lab.restart()
    assert (await lab.turn()).more
    assert not (await lab.turn()).more
    assert (await lab.store.counts()).ready == {"default": 3, "q": 1198}


@in_lab
async def test_a_batch_left_open_is_discarded_after_a_restart(lab: Lab) -> None:
    token = await lab.store.intake.open_upload(now=lab.now)
    await lab.store.intake.add_to_upload(
        token, [new(id="a"), new(depends_on=(("a", "any"),))] + [new()] * 900, now=lab.now
    )
    await lab.restart()
    assert await _visible(lab) == []
    await lab.store.intake.discard_open_uploads()
    with pytest.raises(Refused) as refused:
        await lab.store.intake.commit_upload(token, now=lab.now)
    assert refused.value.code is ErrorCode.NOT_FOUND
    job = await lab.add(id="a")
    assert job.seq == 903, "its numbers stay used up"
    await lab.restart()
    assert (await lab.add()).seq == 904


@in_lab
async def test_a_discarded_batch_frees_its_ids(lab: Lab) -> None:
    token = await lab.store.intake.open_upload(now=lab.now)
    await lab.store.intake.add_to_upload(token, [new(id="a", unique_key="u")], now=lab.now)
    await lab.store.intake.discard_upload(token)
    await lab.store.intake.discard_upload(token)  # as its connection does after a refusal has discarded it
    assert (await lab.add(id="a", unique_key="u")).id == "a"
    with pytest.raises(Refused):
        await lab.store.intake.add_to_upload(token, [new()], now=lab.now)


@in_lab
async def test_a_refused_message_leaves_the_rest_of_the_batch(lab: Lab) -> None:
    token = await lab.store.intake.open_upload(now=lab.now)
    await lab.store.intake.add_to_upload(token, [new(id="a")], now=lab.now)
    with pytest.raises(Refused, match="job 2: "):
        await lab.store.intake.add_to_upload(token, [new(), new(id="a")], now=lab.now)
    assert (await lab.store.intake.commit_upload(token, now=lab.now)).count == 1
    assert await _visible(lab) == ["a"]


@in_lab
async def test_a_commit_asked_for_again_gets_the_first_answer(lab: Lab) -> None:
    token = await lab.store.intake.open_upload(now=lab.now)
    await lab.store.intake.add_to_upload(token, [new(), new()], now=lab.now)
    first = await lab.store.intake.commit_upload(token, now=lab.now, request="r")
    await lab.turn()
    assert await lab.store.intake.commit_upload(token, now=lab.now, request="r") == first
    empty = await lab.store.intake.open_upload(now=lab.now)
    assert (await lab.store.intake.commit_upload(empty, now=lab.now)).count == 0


@in_lab
async def test_a_job_of_a_batch_may_depend_on_an_earlier_one_and_on_one_outside_that_ends_meanwhile(lab: Lab) -> None:
    await lab.add(id="outside")
    token = await lab.store.intake.open_upload(now=lab.now)
    jobs = [new(id="a"), new(id="b", depends_on=(("a", "completed"),)), new(id="c", depends_on=(("outside", "any"),))]
    await lab.store.intake.add_to_upload(token, jobs, now=lab.now)
    (worker,) = await lab.hire()
    assert await lab.drain(worker) == ["outside"]
    told = len(lab.events)
    await lab.turn()
    assert len(lab.events) == told, "nobody is told of jobs that nobody sees"
    await lab.store.intake.commit_upload(token, now=lab.now)
    await lab.turn()
    counts = (await lab.store.counts()).by_state
    assert (counts[JobState.PENDING], counts[JobState.BLOCKED]) == (2, 1)
    assert await lab.drain(worker) == ["a", "b", "c"]
