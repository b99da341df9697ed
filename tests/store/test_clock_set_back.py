"""A job whose time has come does not wait for it again because somebody sets the wall clock back."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from queuectl_client.protocol.vocabulary import JobState
from tests.store import verbs
from tests.store.lab import Lab, in_lab

HOUR_MS = 3_600_000


async def held_and_released(lab: Lab) -> None:
    await verbs.hold(lab.store, [1], now=lab.now)
    await verbs.release(lab.store, [1], now=lab.now)


async def edited(lab: Lab) -> None:
    await lab.store.edit(1, {"priority": 5}, now=lab.now)


async def claimed_and_given_back(lab: Lab) -> None:
    claimed = await lab.claim()
    await lab.store.return_claims([(claimed.seq, claimed.run)], now=lab.now)


@pytest.mark.parametrize("happens", [held_and_released, edited, claimed_and_given_back])
@pytest.mark.parametrize("fields", [{"delay_ms": 3000}, {"run_at_ms": 1_700_000_003_000}], ids=["delay", "run_at"])
@pytest.mark.parametrize("key", [None, "k"])
def test_what_has_come_has_come(
    tmp_path: Path, happens: Callable[[Lab], Awaitable[None]], fields: dict[str, Any], key: str | None
) -> None:
    @in_lab
    async def scenario(lab: Lab) -> None:
        await lab.add(key=key, **fields)
        lab.pass_time(3000)
        await lab.turn()
        assert (await lab.get(1)).ready
        lab.wall_ms -= HOUR_MS
        await happens(lab)
        job = await lab.get(1)
        assert (job.state, job.ready) == (JobState.PENDING, True)
        assert (await lab.claim()).seq == 1

    scenario(tmp_path)


@in_lab
async def test_a_backoff_that_is_over_is_over(lab: Lab) -> None:
    await lab.add()
    await lab.turn([lab.end(await lab.claim(), 1)])
    lab.pass_time(2000)
    lab.wall_ms -= HOUR_MS
    again = await lab.claim()
    await lab.store.return_claims([(again.seq, again.run)], now=lab.now)
    assert (await lab.claim()).seq == 1


@in_lab
async def test_a_new_time_is_waited_for(lab: Lab) -> None:
    await lab.add()
    await lab.store.edit(1, {"run_at_ms": lab.wall_ms + 1000}, now=lab.now)
    assert not (await lab.get(1)).ready
    assert (await lab.turn(free=await lab.hire())).claimed == []


@in_lab
async def test_no_duration_is_negative(lab: Lab) -> None:
    """The clock was set back while the job ran: it has ended before it began, and took what it took."""
    await lab.add()
    claimed = await lab.claim()
    began_ms = lab.wall_ms
    lab.wall_ms -= HOUR_MS
    lab.store_ms += 2000
    await lab.turn([lab.end(claimed, started_ms=began_ms, finished_ms=lab.wall_ms, duration_ms=2000)])
    await lab.add()
    lost = await lab.claim()
    await lab.turn([lab.end(lost, 1, started_ms=began_ms, finished_ms=lab.wall_ms, duration_ms=-5)])
    assert [attempt.duration_ms for attempt in await lab.store.queries.attempts(1)] == [2000]
    assert [attempt.duration_ms for attempt in await lab.store.queries.attempts(2)] == [0]
