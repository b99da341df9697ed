"""What people do to jobs, and what is refused."""

from collections.abc import Callable
from typing import Any

import pytest

from queuectl_client.protocol.vocabulary import ErrorCode, JobState
from queuectld.domain.errors import Refused
from queuectld.domain.job import Output
from queuectld.domain.retry import RetryPolicy
from tests.store import verbs
from tests.store.lab import Lab, in_lab, new

ONCE = RetryPolicy(1, 2, 2)


@in_lab
async def test_of_several_all_or_none(lab: Lab) -> None:
    await lab.add()
    await lab.turn([lab.end(await lab.claim())])
    await lab.add()
    for refused_call, said in (
        (verbs.cancel(lab.store, [2, 1], now=lab.now), "job_1 is completed; it has ended and cannot be cancelled"),
        (verbs.hold(lab.store, [2, 1], now=lab.now), "job_1 is completed; only a waiting job can be held"),
        (verbs.dlq_retry(lab.store, [1], now=lab.now), "job_1 is not in the dead letter queue: it is completed"),
        (verbs.dlq_purge(lab.store, [1], now=lab.now), "job_1 is not in the dead letter queue: it is completed"),
    ):
        with pytest.raises(Refused) as refused:
            await refused_call
        assert refused.value.message == said
        assert refused.value.code is ErrorCode.WRONG_STATE
    assert (await lab.get(2)).state is JobState.PENDING
    with pytest.raises(Refused) as missing:
        await verbs.cancel(lab.store, [2, 99], now=lab.now)
    assert missing.value.code is ErrorCode.NOT_FOUND
    assert (await lab.get(2)).ready


@in_lab
async def test_cancelling_a_waiting_job_ends_it(lab: Lab) -> None:
    await lab.add(delay_ms=9)
    (cancelled,) = await verbs.cancel(lab.store, [1, 1], now=lab.now)
    assert (cancelled.run, cancelled.worker, cancelled.job.state) == (None, None, JobState.CANCELLED)
    assert cancelled.job.finished_ms == lab.wall_ms
    assert lab.store.due == (None, None)


@in_lab
async def test_a_held_job_runs_when_released_and_keeps_its_time(lab: Lab) -> None:
    await lab.add(hold=True)
    await lab.add(delay_ms=1000)
    await verbs.hold(lab.store, [2, 1], now=lab.now)
    lab.pass_time(500)
    assert (await lab.turn(free=await lab.hire())).claimed == []
    assert lab.store.due == (None, None)
    first, second = await verbs.release(lab.store, [1, 2], now=lab.now)
    assert (first.ready, second.ready) == (True, False)
    assert lab.store.due == (lab.store_ms + 500, None)
    with pytest.raises(Refused, match="only a held job"):
        await verbs.release(lab.store, [1], now=lab.now)


@in_lab
async def test_a_retry_of_a_failed_job_runs_it_now_and_counts_on(lab: Lab) -> None:
    await lab.add()
    await lab.turn([lab.end(await lab.claim(), 1)])
    (job,) = await verbs.retry(lab.store, [1], now=lab.now)
    assert (job.state, job.attempts, job.ready) == (JobState.PENDING, 1, True)
    assert lab.store.due == (None, None)
    with pytest.raises(Refused, match="pending"):
        await verbs.retry(lab.store, [1], now=lab.now)


@in_lab
async def test_a_retry_from_the_dlq_starts_from_0_and_keeps_the_history(lab: Lab) -> None:
    await lab.add(retry=ONCE)
    await lab.turn([lab.end(await lab.claim(), 1)])
    (job,) = await verbs.dlq_retry(lab.store, [1], now=lab.now)
    assert (job.state, job.attempts, job.runs, job.reason) == (JobState.PENDING, 0, 1, None)
    assert len(await lab.store.queries.attempts(1)) == 1
    await lab.turn([lab.end(await lab.claim(), 0)])
    assert [(each.run, each.attempt) for each in await lab.store.queries.attempts(1)] == [(1, 1), (2, 1)]


@in_lab
async def test_removing_gives_the_files_that_are_nobodys(lab: Lab) -> None:
    await lab.add(retry=ONCE)
    claimed = await lab.claim()
    with pytest.raises(Refused, match="cancel it"):
        await verbs.remove(lab.store, [1], now=lab.now)
    output = {"stdout": Output(9, None, (("0/a", 0, 5), ("0/b", 5, 4))), "stderr": Output(1, b"x")}
    await lab.turn([lab.end(claimed, 1, output=output)])
    removed = await verbs.dlq_purge(lab.store, [1], now=lab.now)
    assert removed.files == ["0/a", "0/b"]
    assert [job.id for job in removed.jobs] == ["job_1"]
    assert await lab.store.queries.get(1) is None
    assert await lab.store.queries.attempts(1) == []
    assert lab.kinds()[-1] == "job.removed"


@in_lab
async def test_an_edit_changes_what_it_names_and_nothing_else(lab: Lab) -> None:
    await lab.add(env={"SECRET": "1"}, name="old", timeout_ms=5)
    await lab.add()
    before = await lab.get(1)
    changes: dict[str, Any] = {"command": ("echo", "x"), "priority": -1, "queue": "q", "timeout_ms": None}
    job = await lab.store.edit(1, changes, now=lab.now)
    assert (job.command, job.priority, job.queue, job.options.timeout_ms) == (("echo", "x"), -1, "q", None)
    assert (job.options.env, job.options.name, job.options.labels) == ({"SECRET": "1"}, "old", {})
    assert job.ready
    (worker,) = await lab.hire()
    assert (await lab.claim(worker)).id == "job_2"
    assert before.created_ms == job.created_ms
    with pytest.raises(Refused, match="only a job that does not run"):
        await lab.store.edit(2, {"name": "n"}, now=lab.now)


@in_lab
async def test_an_edit_keeps_the_value_of_a_variable_that_is_named_without_one(lab: Lab) -> None:
    await lab.add(env={"SECRET": "1", "OLD": "x"})
    job = await lab.store.edit(1, {"env": {"SECRET": True, "NEW": "2"}}, now=lab.now)
    assert job.options.env == {"SECRET": "1", "NEW": "2"}
    with pytest.raises(Refused, match="'OLD' is not set, so it has no value to keep"):
        await lab.store.edit(1, {"env": {"SECRET": True, "OLD": True}}, now=lab.now)


@in_lab
async def test_an_edit_of_a_job_that_has_changed_since_is_refused(lab: Lab) -> None:
    job = await lab.add()
    lab.pass_time(5)
    await lab.store.edit(1, {"name": "n"}, rev=job.updated_ms, now=lab.now)
    with pytest.raises(Refused) as refused:
        await lab.store.edit(1, {"name": "m"}, rev=job.updated_ms, now=lab.now)
    assert refused.value.code is ErrorCode.CONFLICT
    assert (await lab.get(1)).options.name == "n"


@pytest.mark.parametrize("unknown", ["state", "seq", "environment", "nonsense"])
def test_an_edit_of_anything_else_is_refused(unknown: str, tmp_path: Any) -> None:
    async def scenario(lab: Lab) -> None:
        await lab.add()
        with pytest.raises(Refused, match=unknown):
            await lab.store.edit(1, {unknown: 1}, now=lab.now)

    run: Callable[[Any], None] = in_lab(scenario)
    run(tmp_path)


@in_lab
async def test_many_are_cancelled_together(lab: Lab) -> None:
    added = await lab.store.intake.add_many([new() for _ in range(50)], now=lab.now)
    assert len(await verbs.cancel(lab.store, added.seqs, now=lab.now)) == 50
    assert (await lab.store.counts()).ready == {}


@in_lab
async def test_a_backoff_stays_one_when_the_job_was_held_and_released(lab: Lab) -> None:
    await lab.add(retry=RetryPolicy(3, 1000, 3600))
    await lab.turn([lab.end(await lab.claim(), 1)])
    await verbs.hold(lab.store, [1], now=lab.now)
    (waiting,) = await verbs.release(lab.store, [1], now=lab.now)
    assert (waiting.state, waiting.ready) == (JobState.PENDING, False)
    assert (await lab.store.explain(1, now=lab.now)).rules[0].rule == "backoff"
    (job,) = await verbs.retry(lab.store, [1], now=lab.now)
    assert (job.state, job.attempts, job.ready) == (JobState.PENDING, 1, True)
    assert lab.store.due == (None, None)


@in_lab
async def test_a_delay_is_no_backoff_to_a_retry(lab: Lab) -> None:
    await lab.add(delay_ms=9000)
    with pytest.raises(Refused, match="pending"):
        await verbs.retry(lab.store, [1], now=lab.now)
