"""Parents named by a selector: what it stands for is what was there, seen before or come since, and nothing else."""

import pytest

from queuectl_client.protocol.vocabulary import ErrorCode, JobState
from queuectld.domain.errors import Refused
from queuectld.scheduler.jobs.dependency_selectors import first_look
from queuectld.store.reads import dependency_selectors
from queuectld.store.records import ResolvedSelectors
from queuectld.store.writes import many_parents
from tests.store import verbs
from tests.store.lab import Lab, in_lab, new


@pytest.fixture(autouse=True, params=[many_parents.AT_ONCE, 1])
def at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few parents are noted in the commit that stores the job; very many in slices, here of one."""
    monkeypatch.setattr(many_parents, "AT_ONCE", request.param)


async def seen(lab: Lab, *selectors: str) -> ResolvedSelectors:
    return await first_look(lab.store, [[(selector, "any") for selector in selectors], None])


async def parents(lab: Lab, *selectors: str, on: str = "completed", **keys: object) -> list[str]:
    depends_on = tuple((selector, on) for selector in selectors)
    job = await lab.add(depends_on=depends_on, resolved=await seen(lab, *selectors), **keys)
    assert {on for _, on in job.depends_on} == {on}
    return [parent for parent, _ in job.depends_on]


@in_lab
async def test_each_selector_names_its_jobs(lab: Lab) -> None:
    await lab.add(id="a", labels={"k": "v"})
    await lab.add(id="b", name="nightly", labels={"k": "w"})
    await lab.add(id="c", hold=True, labels={"k": "v"})
    assert await parents(lab, "label:k=v") == ["a", "c"]
    assert await parents(lab, "name:night*") == ["b"]
    assert await parents(lab, "@held") == ["c"]
    assert await parents(lab, "2-3") == ["b", "c"]
    assert await parents(lab, "2-2", "last", id="z") == ["b", "job_7"]
    assert await parents(lab, "last") == ["z"]
    assert await parents(lab, "all") == ["a", "b", "c", "job_4", "job_5", "job_6", "job_7", "z", "job_9"]


@in_lab
async def test_an_exact_id_and_a_number_win(lab: Lab) -> None:
    await lab.add(id="1-2")
    await lab.add(id="17")
    assert await parents(lab, "1-2") == ["1-2"]
    assert await parents(lab, "17") == ["17"]
    assert await parents(lab, "2") == ["17"]


@in_lab
async def test_what_came_between_the_look_and_the_commit_counts_too(lab: Lab) -> None:
    await lab.add(id="a", labels={"k": "v"})
    early = await seen(lab, "label:k=v", "last")
    await lab.add(id="b", labels={"k": "v"})
    job = await lab.add(depends_on=(("label:k=v", "any"),), resolved=early)
    assert job.depends_on == (("a", "any"), ("b", "any"))
    job = await lab.add(depends_on=(("last", "any"),), resolved=early)
    assert job.depends_on == (("job_3", "any"),)


@in_lab
async def test_jobs_of_the_same_request_do_not_count(lab: Lab) -> None:
    await lab.add(id="before", labels={"k": "v"})
    looked = await seen(lab, "label:k=v", "last")
    jobs = [new(labels={"k": "v"}, depends_on=((ref, "any"),), resolved=looked) for ref in ("label:k=v", "last") * 2]
    added = await lab.store.intake.add_many(jobs, now=lab.now)
    for job in await lab.store.queries.many(added.seqs):
        assert job.depends_on == (("before", "any"),)
        assert job.state is JobState.BLOCKED


@in_lab
async def test_a_removed_one_is_none_and_an_ended_one_counts_as_it_ended(lab: Lab) -> None:
    await lab.hire()
    await lab.add(id="gone", hold=True)
    await lab.add(id="done")
    await lab.turn([lab.end(await lab.claim())])
    looked = await seen(lab, "all", "@held")
    await verbs.remove(lab.store, [1], now=lab.now)
    job = await lab.add(depends_on=(("all", "completed"),), resolved=looked)
    assert (job.depends_on, job.state) == ((("done", "completed"),), JobState.PENDING)
    job = await lab.add(depends_on=(("2-2", "dead"),), resolved=await seen(lab, "2-2"))
    assert job.state is JobState.CANCELLED
    assert "done" in (job.reason or "")
    with pytest.raises(Refused) as refused:
        await lab.add(depends_on=(("@held", "any"),), resolved=looked)
    assert refused.value.code is ErrorCode.NOT_FOUND


@in_lab
async def test_a_selector_that_names_none_or_too_many_is_refused(lab: Lab) -> None:
    for selector in ("last", "all", "label:k=v", "5-9", "@failed"):
        with pytest.raises(Refused) as refused:
            await parents(lab, selector)
        assert refused.value.code is ErrorCode.NOT_FOUND
    with pytest.raises(Refused, match="unknown state"):
        await parents(lab, "@nonsense")
    await lab.store.intake.add_many([new() for _ in range(dependency_selectors.MAX_PARENTS + 1)], now=lab.now)
    with pytest.raises(Refused) as refused:
        await parents(lab, "all")
    assert refused.value.code is ErrorCode.TOO_LARGE
    assert len(await parents(lab, f"2-{dependency_selectors.MAX_PARENTS + 1}")) == dependency_selectors.MAX_PARENTS


@in_lab
async def test_many_jobs_with_many_parents_are_refused(lab: Lab) -> None:
    await lab.store.intake.add_many([new(hold=True) for _ in range(1000)], now=lab.now)
    looked = await seen(lab, "@held")
    with pytest.raises(Refused) as refused:
        await lab.store.intake.add_many([new(depends_on=(("@held", "any"),), resolved=looked)] * 201, now=lab.now)
    assert refused.value.code is ErrorCode.TOO_LARGE
    assert refused.value.data is not None
    assert refused.value.data["index"] == 200


@in_lab
async def test_an_edit_names_parents_by_a_selector_too(lab: Lab) -> None:
    await lab.add(id="a", labels={"k": "v"}, hold=True)
    await lab.add(id="edited", depends_on=(("a", "completed"),))
    looked = await seen(lab, "label:k=v", "all")
    await lab.add(id="b", labels={"k": "v"})
    job = await lab.store.edit(2, {"depends_on": (("label:k=v", "any"),)}, now=lab.now, resolved=looked)
    assert job.depends_on == (("a", "any"), ("b", "any"))
    with pytest.raises(Refused, match="would wait for itself"):
        await lab.store.edit(2, {"depends_on": (("all", "any"),)}, now=lab.now, resolved=looked)
