"""Queues that are removed: only empty ones, and nothing of them is left in the store or in memory."""

import pytest

from queuectl_client.protocol.vocabulary import ErrorCode
from queuectld.domain.errors import Refused
from tests.store import verbs
from tests.store.lab import Lab, in_lab, new


@in_lab
async def test_a_queue_with_jobs_stays_and_an_empty_one_goes(lab: Lab) -> None:
    added = await lab.add(queue="q")
    with pytest.raises(Refused, match="has 1 job") as refused:
        await lab.store.queue_remove("q", now=lab.now)
    assert refused.value.code is ErrorCode.WRONG_STATE
    await verbs.remove(lab.store, [added.seq], now=lab.now)
    await lab.store.queue_remove("q", now=lab.now)
    for name, code in (("q", ErrorCode.NOT_FOUND), ("default", ErrorCode.WRONG_STATE)):
        with pytest.raises(Refused) as refused:
            await lab.store.queue_remove(name, now=lab.now)
        assert refused.value.code is code
    assert [row.name for row in await lab.store.queries.queues()] == ["default"]


@in_lab
async def test_jobs_of_an_open_batch_keep_their_queue(lab: Lab) -> None:
    token = await lab.store.intake.open_upload(now=lab.now)
    await lab.store.intake.add_to_upload(token, [new(queue="q")] * 2, now=lab.now)
    with pytest.raises(Refused, match="has 2 jobs"):
        await lab.store.queue_remove("q", now=lab.now)
    await lab.store.intake.commit_upload(token, now=lab.now)
    assert (await lab.claim()).queue == "q"


@in_lab
async def test_the_next_queue_has_nothing_of_a_removed_one(lab: Lab) -> None:
    """Its number and those of its lanes are given again; a paused queue's lanes were closed."""
    added = await lab.add(queue="q")
    await lab.store.queue_set("q", now=lab.now, paused=True, concurrency=1, rate="1/h")
    await verbs.remove(lab.store, [added.seq], now=lab.now)
    await lab.store.queue_remove("q", now=lab.now)
    assert lab.store.paused == set()
    assert (await lab.store.counts()).paused == []
    await lab.add(queue="r")
    claimed = await lab.claim()
    assert claimed.queue == "r"
    await lab.turn([lab.end(claimed)])
    await lab.add(queue="q")
    assert (await lab.claim()).queue == "q"
    row = next(row for row in await lab.store.queries.queues() if row.name == "q")
    assert (row.paused, row.concurrency, row.rate) == (False, None, None)
    counts = await lab.store.counts()
    await lab.restart()
    assert await lab.store.counts() == counts
