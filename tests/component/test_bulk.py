"""A verb on any number of jobs, over a real store: what it takes, what it leaves out, page by page and in slices."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest

from queuectl_client.protocol.permits import JobAction
from queuectl_client.protocol.vocabulary import ErrorCode, JobState
from queuectld.domain.errors import Refused
from queuectld.domain.retry import RetryPolicy
from queuectld.scheduler.jobs import bulk, selection
from queuectld.scheduler.jobs.bulk import BulkCursor, BulkExecutor, BulkResult, LeftOut
from queuectld.store.records import ActionResult
from tests.store import verbs
from tests.store.lab import Lab, in_lab, new

ENDED = "it has ended and cannot be cancelled"


class Request(NamedTuple):
    """What a request says besides."""

    dry_run: bool = False
    brief: bool = False
    limit: int | None = None
    after: str | None = None


async def do(lab: Lab, verb: JobAction, *refs: str, **wanted: Any) -> BulkResult:
    """The verb on these jobs."""

    async def act(seqs: Sequence[int], _: BulkCursor, picked: bool) -> ActionResult:
        return await lab.store.apply(verb, seqs, now=lab.now, picked=picked)

    return await _bulk(lab).apply(verb, refs, Request(**wanted), act)


def _bulk(lab: Lab) -> BulkExecutor:
    class Turned:
        def now(self) -> Any:
            lab.pass_time(1)
            return lab.now

    return BulkExecutor(lab.store, Turned())  # type: ignore[arg-type]


async def states(lab: Lab) -> dict[str, JobState]:
    """Each job's state."""
    return {job.id: job.state for seq in range(1, 30) if (job := await lab.store.queries.get(seq)) is not None}


@in_lab
async def test_a_selector_takes_those_that_it_fits_and_counts_the_others(lab: Lab) -> None:
    await lab.add()
    await lab.turn([lab.end(await lab.claim())])
    for _ in range(3):
        await lab.add(labels={"k": "v"})
    changed = await do(lab, JobAction.CANCEL, "all")
    assert [job.id for job in changed.jobs] == ["job_2", "job_3", "job_4"]
    assert (changed.total, changed.selected, changed.next) == (3, 3, None)
    assert changed.left_out == [LeftOut("completed", ENDED, 1)]
    assert (await do(lab, JobAction.CANCEL, "all")).left_out[0].jobs == 3


@in_lab
async def test_an_id_must_allow_it_or_nothing_is_changed(lab: Lab) -> None:
    await lab.add()
    await lab.turn([lab.end(await lab.claim())])
    await lab.add()
    for refs in (["job_1", "all"], ["all", "job_1"], ["2", "1"], ["last", "job_1"]):
        with pytest.raises(Refused) as refused:
            await do(lab, JobAction.CANCEL, *refs)
        assert refused.value.code is ErrorCode.WRONG_STATE
    with pytest.raises(Refused) as refused:
        await do(lab, JobAction.CANCEL, "all", "nobody")
    assert refused.value.code is ErrorCode.NOT_FOUND
    assert (await states(lab))["job_2"] is JobState.PENDING


@in_lab
async def test_an_exact_id_wins_over_a_number_and_a_selector(lab: Lab) -> None:
    await lab.add(id="2")
    await lab.add(id="1-3")
    await lab.add()
    assert [job.seq for job in (await do(lab, JobAction.HOLD, "2")).jobs] == [1]
    changed = await do(lab, JobAction.HOLD, "1-3")
    assert ([job.seq for job in changed.jobs], changed.selected) == ([2], 0)
    assert [job.seq for job in (await do(lab, JobAction.HOLD, "2-3")).jobs] == [2, 3]
    assert [job.seq for job in (await do(lab, JobAction.HOLD, "last")).jobs] == [3]


@in_lab
async def test_selectors(lab: Lab) -> None:
    await lab.add(name="x1", labels={"user": "ada"}, batch="b")
    await lab.add(name="x2", labels={"user": "a=b"}, hold=True)
    await lab.add(queue="q")
    for selector, seqs in (
        ("all", [1, 2, 3]), ("@held", [2]), ("@HELD", [2]), ("name:x*", [1, 2]), ("label:user=a=b", [2]),
        ("batch:b", [1]), ("2-2", [2]), ("2-99", [2, 3]), ("3", [3]), ("last", [3]),
    ):  # fmt: skip
        assert [job.seq for job in (await do(lab, JobAction.HOLD, selector, dry_run=True)).jobs] == seqs, selector
    for nothing in ("@dead", "name:y*", "label:user=bob", "batch:c", "40-50", "3-2"):
        with pytest.raises(Refused, match="no job matches") as refused:
            await do(lab, JobAction.HOLD, nothing)
        assert refused.value.code is ErrorCode.NOT_FOUND
    for nonsense, said in (("@hled", "@held"), ("label:user", "label:KEY=VALUE"), ("name:", "name:GLOB")):
        with pytest.raises(Refused, match=said) as refused:
            await do(lab, JobAction.HOLD, nonsense)
        assert refused.value.code is ErrorCode.INVALID_PARAMS


@in_lab
async def test_a_dry_run_changes_nothing_and_counts_each_job_once(lab: Lab) -> None:
    for _ in range(3):
        await lab.add(name="x")
    told = len(lab.events)
    changed = await do(lab, JobAction.CANCEL, "name:x", "all", "1-2", dry_run=True)
    assert [job.seq for job in changed.jobs] == [1, 2, 3]
    assert changed.left_out == []
    assert len(lab.events) == told


@in_lab
async def test_what_one_selector_has_changed_is_not_left_out_by_the_next(lab: Lab) -> None:
    for _ in range(3):
        await lab.add(name="x")
    assert [job.seq for job in (await do(lab, JobAction.HOLD, "2", "all")).jobs] == [2, 1, 3]
    changed = await do(lab, JobAction.CANCEL, "2", "name:x", "all", "@held")
    assert [job.seq for job in changed.jobs] == [2, 1, 3]
    assert (changed.selected, changed.left_out) == (2, [])


@in_lab
async def test_a_call_with_a_limit_goes_on_where_the_one_before_stopped(lab: Lab) -> None:
    await lab.store.intake.add_many([new() for _ in range(7)], now=lab.now)
    found: list[int] = []
    after = None
    calls = 0
    while calls == 0 or after is not None:
        changed = await do(lab, JobAction.CANCEL, "7", "2-4", "all", limit=2, after=after)
        found += [job.seq for job in changed.jobs]
        after = changed.next
        calls += 1
        if calls == 1:
            await lab.add()  # one that comes meanwhile is not meant
    assert found == [7, 2, 3, 4, 1, 5, 6]
    assert calls >= 4
    assert (await lab.get(8)).state is JobState.PENDING
    for bad in ("1.2.3", "x", "0.0.0.0.0.0.x", "٣.0.0.0.0.0.0"):
        with pytest.raises(Refused, match="`next`"):
            await do(lab, JobAction.CANCEL, "all", limit=2, after=bad)


@in_lab
async def test_a_removed_name_does_not_stop_the_next_page(lab: Lab) -> None:
    await lab.store.intake.add_many([new() for _ in range(4)], now=lab.now)
    first = await do(lab, JobAction.REMOVE, "job_1", "all", limit=1)
    assert first.next is not None
    rest = await do(lab, JobAction.REMOVE, "job_1", "all", after=first.next)
    assert [job.id for job in rest.jobs] == ["job_2", "job_3", "job_4"]


@in_lab
async def test_many_jobs_are_changed_slice_by_slice_and_an_answer_tells_the_first(lab: Lab) -> None:
    count = bulk.MAX_REPORTED + 1_100
    await lab.store.intake.add_many([new() for _ in range(count)], now=lab.now)
    before = len(lab.commits)
    changed = await do(lab, JobAction.HOLD, "all")
    assert (changed.total, len(changed.jobs), changed.next) == (count, bulk.MAX_REPORTED, None)
    assert len(lab.commits) - before >= count // bulk.SLICE, "others get their turn in between"
    assert max(len(commit.events) for commit in lab.commits[before:]) <= bulk.SLICE


@in_lab
async def test_very_many_names_are_all_or_none_too(lab: Lab) -> None:
    count = bulk.MAX_AT_ONCE + 10
    await lab.store.intake.add_many([new() for _ in range(count)], now=lab.now)
    await verbs.cancel(lab.store, [count], now=lab.now)
    names = [f"job_{seq}" for seq in range(1, count + 1)]
    with pytest.raises(Refused, match=f"job_{count} is cancelled"):
        await do(lab, JobAction.HOLD, *names)
    assert (await lab.get(1)).state is JobState.PENDING
    changed = await do(lab, JobAction.HOLD, *names[:-1])
    assert (changed.total, changed.selected) == (count - 1, 0)


@in_lab
async def test_jobs_that_are_looked_up_for_one_call_have_a_limit(lab: Lab) -> None:
    await lab.store.intake.add_many([new(name="x") for _ in range(5)], now=lab.now)
    limit, selection.MAX_SELECTED = selection.MAX_SELECTED, 3
    try:
        with pytest.raises(Refused, match="more than 3 jobs") as refused:
            await selection.resolve_all(lab.store, ["job_1", "all"])
        assert refused.value.code is ErrorCode.TOO_LARGE
        assert await selection.resolve_all(lab.store, ["job_5", "2-3", "@dead"]) == [5, 2, 3]
    finally:
        selection.MAX_SELECTED = limit
    for several in ("all", "2-3", "name:x"):
        with pytest.raises(Refused, match="several jobs") as refused:
            await selection.resolve_one(lab.store, several)
        assert refused.value.code is ErrorCode.INVALID_PARAMS
    with pytest.raises(Refused, match="no job matches") as refused:
        await selection.resolve_one(lab.store, "@dead")
    assert refused.value.code is ErrorCode.NOT_FOUND


@in_lab
async def test_of_dead_jobs_with_the_same_key_the_first_runs_again(lab: Lab) -> None:
    for _ in range(2):
        await lab.add(unique_key="k", retry=RetryPolicy(1, 2, 2))
        await lab.turn([lab.end(await lab.claim(), 1)])
    changed = await do(lab, JobAction.RETRY, "@dead")
    assert [job.seq for job in changed.jobs] == [1]
    assert changed.left_out == [LeftOut("dead", "job job_1 now has its unique key", 1)]


@in_lab
async def test_a_chain_that_is_retried_in_slices_holds_in_whatever_order_it_is_named(lab: Lab) -> None:
    await lab.add()
    for parent in range(1, 8):
        await lab.add(depends_on=((str(parent), "completed"),))
    await do(lab, JobAction.CANCEL, "all")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bulk, "MAX_AT_ONCE", 2)
        patch.setattr(bulk, "SLICE", 2)
        await do(lab, JobAction.RETRY, *map(str, range(8, 0, -1)))
    blocked = dict.fromkeys((f"job_{seq}" for seq in range(2, 9)), JobState.BLOCKED)
    assert await states(lab) == {"job_1": JobState.PENDING, **blocked}
