"""Dependencies on named batches, and dependencies between jobs of one request."""

import pytest

from queuectl_client.protocol.vocabulary import ErrorCode, JobState
from queuectld.domain.errors import Refused
from queuectld.domain.retry import RetryPolicy
from queuectld.store.writes import dependencies
from tests.store import verbs
from tests.store.lab import Lab, in_lab, new

ONCE = RetryPolicy(1, 2, 2)
AFTER = {on: ((f"batch:{'b'}", on),) for on in ("completed", "dead", "any")}


async def _watched(lab: Lab, *exit_codes: int) -> dict[str, JobState]:
    """What becomes of those that wait for a batch of jobs that end so."""
    await lab.store.intake.add_many([new(batch="b", retry=ONCE) for _ in exit_codes], now=lab.now)
    for on, after in AFTER.items():
        await lab.add(id=on, depends_on=after)
    (worker,) = await lab.hire()
    for number, exit_code in enumerate(exit_codes, 1):
        assert (await lab.get(len(exit_codes) + 1)).state is JobState.BLOCKED
        claimed = await lab.claim(worker)
        assert claimed.seq == number
        await lab.turn([lab.end(claimed, exit_code)])
    jobs = await lab.store.queries.many(range(len(exit_codes) + 1, len(exit_codes) + 4))
    assert all("batch:b" in (job.reason or "") for job in jobs if job.state is JobState.CANCELLED)
    return {job.id: job.state for job in jobs}


@in_lab
async def test_a_batch_whose_jobs_all_succeed_is_a_success(lab: Lab) -> None:
    ends = await _watched(lab, 0, 0, 0)
    assert ends == {"completed": JobState.PENDING, "dead": JobState.CANCELLED, "any": JobState.PENDING}


@in_lab
async def test_a_batch_with_a_failure_is_none(lab: Lab) -> None:
    ends = await _watched(lab, 0, 1, 0)
    assert ends == {"completed": JobState.CANCELLED, "dead": JobState.PENDING, "any": JobState.PENDING}


@in_lab
async def test_a_batch_that_has_ended_decides_at_once_and_a_retry_opens_it_again(lab: Lab) -> None:
    await lab.add(batch="b", retry=ONCE)
    await lab.turn([lab.end(await lab.claim(), 1)])
    assert (await lab.add(depends_on=AFTER["dead"])).state is JobState.PENDING
    assert (await lab.add(depends_on=AFTER["completed"])).state is JobState.CANCELLED
    await verbs.dlq_retry(lab.store, [1], now=lab.now)
    waits = await lab.add(depends_on=AFTER["completed"])
    assert waits.state is JobState.BLOCKED
    await lab.restart()
    await lab.turn([lab.end(await lab.claim(lab.workers[0]))])
    assert (await lab.get(waits.seq)).state is JobState.PENDING
    await verbs.remove(lab.store, [1], now=lab.now)
    with pytest.raises(Refused, match="no such batch: 'b'"):
        await lab.add(depends_on=AFTER["any"])


@in_lab
async def test_a_job_that_goes_counts_as_a_failure_of_its_batch(lab: Lab) -> None:
    await lab.store.intake.add_many([new(batch="b"), new(batch="b")], now=lab.now)
    await lab.add(id="c", depends_on=AFTER["dead"])
    await verbs.remove(lab.store, [1], now=lab.now)
    await lab.turn([lab.end(await lab.claim())])
    assert (await lab.get(3)).state is JobState.PENDING


@in_lab
async def test_the_job_that_follows_may_come_first(lab: Lab) -> None:
    follower = new(id="after", depends_on=AFTER["completed"])
    await lab.store.intake.add_many([follower, *(new(batch="b") for _ in range(3))], now=lab.now)
    (worker,) = await lab.hire()
    assert await lab.drain(worker) == ["job_2", "job_3", "job_4", "after"]


@in_lab
async def test_a_batch_that_is_discarded_is_the_end_of_nothing(lab: Lab) -> None:
    await lab.add(batch="b")
    token = await lab.store.intake.open_upload(now=lab.now)
    await lab.store.intake.add_to_upload(token, [new(batch="b"), new(batch="gone")], now=lab.now)
    await lab.add(id="c", depends_on=AFTER["completed"])
    await lab.store.intake.discard_upload(token)
    assert (await lab.get(4)).state is JobState.BLOCKED
    await lab.turn([lab.end(await lab.claim())])
    assert (await lab.get(4)).state is JobState.PENDING


@in_lab
async def test_a_job_does_not_wait_for_its_own_batch(lab: Lab) -> None:
    for jobs in (
        [new(batch="b", depends_on=AFTER["any"])],
        [new(batch="b"), new(id="f", depends_on=AFTER["any"]), new(batch="b", depends_on=(("f", "any"),))],
    ):
        with pytest.raises(Refused, match="dependency cycle: the job is in the batch 'b'") as refused:
            await lab.store.intake.add_many(jobs, now=lab.now)
        assert refused.value.code is ErrorCode.CONFLICT
    assert await lab.store.queries.many(range(9)) == []


@in_lab
async def test_jobs_of_one_request_name_each_other_in_any_order(lab: Lab) -> None:
    chain = [new(id=str_id, depends_on=((after, "completed"),)) for str_id, after in (("c", "b"), ("b", "a"))]
    await lab.store.intake.add_many(
        [*chain, new(id="a"), new(id="d", depends_on=(("c", "any"), ("a", "any")))], now=lab.now
    )
    assert (await lab.get(1)).depends_on == (("b", "completed"),)
    (worker,) = await lab.hire()
    assert await lab.drain(worker) == ["a", "b", "c", "d"]


@in_lab
async def test_jobs_of_a_batch_name_each_other_over_several_messages(lab: Lab) -> None:
    token = await lab.store.intake.open_upload(now=lab.now)
    await lab.store.intake.add_to_upload(
        token, [new(id="b", depends_on=(("a", "any"), ("batch:x", "any")))], now=lab.now
    )
    await lab.store.intake.add_to_upload(token, [new(id="a"), new(id="x1", batch="x")], now=lab.now)
    await lab.store.intake.commit_upload(token, now=lab.now)
    (worker,) = await lab.hire()
    assert await lab.drain(worker) == ["a", "x1", "b"]


@in_lab
async def test_a_batch_that_names_a_job_that_never_came_is_not_committed(lab: Lab) -> None:
    token = await lab.store.intake.open_upload(now=lab.now)
    await lab.store.intake.add_to_upload(token, [new(id="b", depends_on=(("a", "any"),))], now=lab.now)
    with pytest.raises(Refused, match="depends_on of b: no such job: 'a'") as refused:
        await lab.store.intake.commit_upload(token, now=lab.now)
    assert refused.value.code is ErrorCode.NOT_FOUND
    await lab.store.intake.discard_upload(token)
    with pytest.raises(Refused, match="depends_on: no such job: 'a'") as refused:
        await lab.store.intake.add_many([new(), new(depends_on=(("a", "any"),))], now=lab.now)
    assert refused.value.message.startswith("job 2: ")


@pytest.mark.parametrize(
    "names, said",
    [
        ("ab ba", "dependency cycle: b and a would wait for each other"),
        ("ab bc ca", "dependency cycle: [abc] and [abc] would wait for each other"),
        ("aa", "dependency cycle: a would wait for itself"),
    ],
)
def test_a_circle_is_refused_with_the_ids_in_it(names: str, said: str, tmp_path: object) -> None:
    jobs = [new(id=one, depends_on=((other, "any"),)) for one, other in names.split()]

    @in_lab
    async def scenario(lab: Lab) -> None:
        with pytest.raises(Refused, match=said) as refused:
            await lab.store.intake.add_many(jobs, now=lab.now)
        assert refused.value.code is ErrorCode.CONFLICT
        token = await lab.store.intake.open_upload(now=lab.now)
        for job in jobs[:-1]:
            await lab.store.intake.add_to_upload(token, [job], now=lab.now)
        with pytest.raises(Refused, match=said):
            await lab.store.intake.add_to_upload(token, jobs[-1:], now=lab.now)
        await lab.store.intake.discard_upload(token)

    scenario(tmp_path)  # type: ignore[arg-type]


@in_lab
async def test_a_parent_that_comes_later_and_is_cancelled_takes_its_child_along(lab: Lab) -> None:
    await lab.add(id="done")
    await lab.turn([lab.end(await lab.claim())])
    jobs = [new(id="b", depends_on=(("a", "completed"),)), new(id="a", depends_on=(("done", "dead"),))]
    await lab.store.intake.add_many(jobs, now=lab.now)
    assert [(await lab.get(seq)).state for seq in (2, 3)] == [JobState.CANCELLED, JobState.CANCELLED]


@in_lab
async def test_a_chain_within_its_batch_may_have_any_length(lab: Lab) -> None:
    """Nothing waits for the batch, so no job of it can wait for itself, and the ancestors need not be walked."""
    token = await lab.store.intake.open_upload(now=lab.now)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dependencies, "MAX_VISITED", 20)
        for start in range(0, 60, 10):
            chain = [
                new(id=f"c{each}", batch="b", depends_on=((f"c{each - 1}", "completed"),) if each else ())
                for each in range(start, start + 10)
            ]
            await lab.store.intake.add_to_upload(token, chain, now=lab.now)
    assert (await lab.store.intake.commit_upload(token, now=lab.now)).count == 60


@in_lab
async def test_a_job_that_would_wait_for_its_own_batch_by_way_of_others_is_refused(lab: Lab) -> None:
    await lab.add(batch="b")
    await lab.add(id="after", depends_on=(("batch:b", "any"),))
    await lab.add(id="later", depends_on=(("after", "any"),))
    for few in (0, 100):  # the ancestors of the job are walked, or what waits for the batch
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(dependencies, "FEW_DEPENDENTS", few)
            with pytest.raises(Refused, match="dependency cycle: the job is in the batch 'b'"):
                await lab.add(batch="b", depends_on=(("later", "any"),))
            await lab.add(batch="c", depends_on=(("later", "any"),))
