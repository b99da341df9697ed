"""A job with processes that outlived its run: no way leads to a second run before they have ended."""

from pathlib import Path
from typing import Any

import pytest

from queuectl_client.protocol.vocabulary import JobState
from queuectld.domain.outcome import EndKind, Survivor
from tests.store import verbs
from tests.store.lab import Lab, in_lab

LEFT = (Survivor(4711, 12, "a boot", 4711, "sleep", True),)


async def outlived(lab: Lab, **outcome: Any) -> int:
    """A job of whose first run a process lives."""
    await lab.add(run_at_ms=lab.wall_ms - 1)
    claimed = await lab.claim()
    await lab.turn([lab.end(claimed, exit_code=1, survivors=LEFT, **outcome)])
    return claimed.seq


@pytest.mark.parametrize(
    "way", ["backoff", "retry", "hold and release", "edit", "restart", "crash", "cancel and retry"]
)
def test_it_does_not_run_before_they_are_gone(tmp_path: Path, way: str) -> None:
    @in_lab
    async def scenario(lab: Lab) -> None:
        if way == "cancel and retry":
            await lab.add()
            claimed = await lab.claim()
            seq = claimed.seq
            await verbs.cancel(lab.store, [seq], now=lab.now)
            await lab.turn([lab.end(claimed, exit_code=1, survivors=LEFT)])
            assert (await lab.store.queries.attempts(seq))[0].reason == f"cancelled; {LEFT[0].words}"
            await verbs.retry(lab.store, [seq], now=lab.now)
        else:
            seq = await outlived(lab, kind=EndKind.CRASHED if way == "crash" else EndKind.TIMED_OUT)
        lab.pass_time(3_600_000)
        worker = lab.workers[0]
        if way == "retry":
            await verbs.retry(lab.store, [seq], now=lab.now)
        elif way == "hold and release":
            await verbs.hold(lab.store, [seq], now=lab.now)
            await verbs.release(lab.store, [seq], now=lab.now)
        elif way == "edit":
            await lab.store.edit(seq, {"delay_ms": 5}, now=lab.now)
            lab.pass_time(10)
        elif way == "restart":
            await lab.restart()
        turn = await lab.turn(free=[worker])
        assert (turn.claimed, turn.more) == ([], False)
        assert not lab.store.due.is_past(lab.now), "a turn would follow a turn"
        told = await lab.store.explain(seq, now=lab.now)
        assert told.rules[0].words.startswith(f"Its last run may still run as pid 4711: {LEFT[0].words}.")
        assert told.starts_ms is None
        await lab.store.clear_survivors(seq, now=lab.now)
        assert lab.store.survivors == {}
        assert [each.seq for each in (await lab.turn(free=[worker])).claimed] == [seq]

    scenario(tmp_path)


def test_one_that_is_held_when_they_go_runs_when_it_is_released(tmp_path: Path) -> None:
    @in_lab
    async def scenario(lab: Lab) -> None:
        seq = await outlived(lab)
        lab.pass_time(3_600_000)
        await lab.turn()
        await verbs.hold(lab.store, [seq], now=lab.now)
        await lab.store.clear_survivors(seq, now=lab.now)
        await verbs.release(lab.store, [seq], now=lab.now)
        assert (await lab.get(seq)).state is JobState.PENDING
        assert len((await lab.turn(free=lab.workers)).claimed) == 1

    scenario(tmp_path)


def test_of_one_that_was_removed_they_are_forgotten_as_they_end(tmp_path: Path) -> None:
    @in_lab
    async def scenario(lab: Lab) -> None:
        seq = await outlived(lab)
        await verbs.remove(lab.store, [seq], now=lab.now)
        assert list(lab.store.survivors) == [seq]
        await lab.store.clear_survivors(seq, now=lab.now)
        assert lab.store.survivors == {}

    scenario(tmp_path)


def test_those_that_took_their_place_are_known_to_the_next_daemon(tmp_path: Path) -> None:
    @in_lab
    async def scenario(lab: Lab) -> None:
        seq = await outlived(lab)
        child = (LEFT[0]._replace(pid=4712),)
        await lab.store.set_survivors(seq, child)
        assert lab.store.survivors == {seq: child}
        await lab.restart()
        assert lab.store.survivors == {seq: child}

    scenario(tmp_path)
