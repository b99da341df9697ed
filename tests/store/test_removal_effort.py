"""To remove many jobs takes few statements more than to remove one; what cannot share them is removed one by one."""

from queuectl_client.protocol.vocabulary import JobState
from tests.bench.effort import Meter
from tests.store.lab import Lab, in_lab, new

MANY = 400


async def _filled(lab: Lab) -> list[int]:
    return list((await lab.store.add_many([new() for _ in range(MANY)], now=lab.now)).seqs)


@in_lab
async def test_one_statement_a_job_looks_at_it_and_one_tells_of_it(lab: Lab) -> None:
    seqs = await _filled(lab)
    meter = Meter(lab.store)

    async def remove() -> None:
        removed = await lab.store.remove(seqs, now=lab.now)
        assert [job.seq for job in removed.jobs] == seqs

    effort = await meter.of(MANY, remove)
    assert effort.statements < 2.1
    assert effort.commits == 1 / MANY


@in_lab
async def test_old_ones_take_one_statement_each(lab: Lab) -> None:
    seqs = await _filled(lab)
    await lab.store.cancel(seqs, now=lab.now)
    meter = Meter(lab.store)

    async def prune() -> None:
        pruned = await lab.store.prune_jobs(seqs, {JobState.CANCELLED: lab.wall_ms}, now=lab.now)
        assert pruned.count == MANY

    assert (await meter.of(MANY, prune)).statements < 1.1


@in_lab
async def test_of_jobs_with_and_without_a_key_a_child_or_a_batch_each_goes_as_it_would_alone(lab: Lab) -> None:
    for fields in ({"id": "plain"}, {"key": "k"}, {"id": "parent"}, {"key": "k"}, {"batch": "b"}, {"key": "k"}):
        await lab.add(**fields)
    child = await lab.add(depends_on=(("parent", "completed"),))
    after = await lab.add(depends_on=(("batch:b", "any"),))
    removed = await lab.store.remove([5, 4, 3, 2, 1], now=lab.now)
    assert [job.seq for job in removed.jobs] == [5, 4, 3, 2, 1]
    assert (await lab.get(child.seq)).state is JobState.CANCELLED
    assert (await lab.get(after.seq)).state is JobState.PENDING
    assert (await lab.get(6)).ready
