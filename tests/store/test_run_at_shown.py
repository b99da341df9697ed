"""When a job runs next is told in wall time, and decided in store time."""

from queuectl_client.protocol.vocabulary import JobState
from tests.store import verbs
from tests.store.lab import Lab, in_lab

HOUR_MS = 3_600_000


@in_lab
async def test_a_failed_job_tells_when_it_runs_again(lab: Lab) -> None:
    job = await lab.add("false")
    await lab.turn([lab.end(await lab.claim(), exit_code=1)])
    failed = await lab.get(job.seq)
    assert (failed.state, failed.run_at_ms) == (JobState.FAILED, lab.wall_ms + 2_000)
    (retried,) = await verbs.retry(lab.store, [job.seq], now=lab.now)
    assert (retried.state, retried.run_at_ms, retried.ready) == (JobState.PENDING, None, True)


@in_lab
async def test_a_delayed_job_tells_when_it_runs(lab: Lab) -> None:
    assert (await lab.add(delay_ms=90_000)).run_at_ms == lab.wall_ms + 90_000


@in_lab
async def test_a_wall_clock_that_is_set_back_makes_neither_wait_longer(lab: Lab) -> None:
    failed = await lab.add("false")
    await lab.turn([lab.end(await lab.claim(), exit_code=1)])
    delayed = await lab.add(delay_ms=1_500)
    lab.store_ms += 2_000
    lab.wall_ms -= HOUR_MS
    assert await lab.drain(lab.workers[0]) == [failed.id, delayed.id]
