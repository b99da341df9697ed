"""The counts that `status` tells are those of the store, whatever was committed or rolled back, and are never read."""

import pytest

from queuectl_client.protocol.vocabulary import JobState
from queuectld.domain.errors import Refused
from queuectld.store.writer.counts import LiveCounts
from tests.bench.effort import Meter
from tests.store import verbs
from tests.store.lab import Lab, in_lab, new


async def _as_stored(lab: Lab) -> None:
    """The counts in memory are those that a daemon that starts now would read."""
    assert await lab.store.counts() == await lab.store._reader.submit(
        lambda connection: LiveCounts(connection).counts()
    )


@in_lab
async def test_they_follow_every_commit(lab: Lab) -> None:
    await _as_stored(lab)
    await lab.store.intake.add_many(
        [new(queue=f"q{number % 3}", hold=number % 2 == 1) for number in range(12)], now=lab.now
    )
    await _as_stored(lab)
    await lab.store.queue_pause("q1", True, now=lab.now)
    with pytest.raises(Refused):
        await lab.store.intake.add_many([new(queue="never"), new(id="x"), new(id="x")], now=lab.now)
    await _as_stored(lab)
    token = await lab.store.intake.open_upload(now=lab.now)
    await lab.store.intake.add_to_upload(token, [new(queue="late")] * 5, now=lab.now)
    assert (await lab.store.counts()).by_state[JobState.PENDING] == 6
    await lab.store.intake.commit_upload(token, now=lab.now)
    await lab.turn()
    await _as_stored(lab)
    await lab.turn([lab.end(await lab.claim())])
    await lab.store.queue_pause("q1", False, now=lab.now)
    await lab.store.queue_pause("new", True, now=lab.now)
    await verbs.remove(lab.store, [1, 2], now=lab.now)
    await _as_stored(lab)
    counts = await lab.store.counts()
    assert counts.paused == ["new"]
    assert not counts.is_quiet
    await lab.restart()
    assert await lab.store.counts() == counts


@in_lab
async def test_they_ask_the_store_for_nothing_however_many_queues_there_are(lab: Lab) -> None:
    await lab.store.intake.add_many([new(queue=f"q{number}") for number in range(500)], now=lab.now)
    meter = Meter(lab.store)
    assert (await meter.of(1, lab.store.counts)).statements == 0


@in_lab
async def test_it_is_quiet_when_nothing_can_run_that_is_not_paused(lab: Lab) -> None:
    assert (await lab.store.counts()).is_quiet
    await lab.add(hold=True)
    assert (await lab.store.counts()).is_quiet
    await lab.add(queue="q")
    assert not (await lab.store.counts()).is_quiet
    await lab.store.queue_pause("q", True, now=lab.now)
    assert (await lab.store.counts()).is_quiet
