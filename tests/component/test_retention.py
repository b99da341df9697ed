"""What goes in the background, on a real store with a clock that is turned by hand."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from queuectl_client.protocol.vocabulary import JobState
from queuectld.domain.job import Output
from queuectld.scheduler import retention
from queuectld.scheduler.clock import Clock
from queuectld.scheduler.retention import Retention
from queuectld.store import upkeep
from queuectld.store.reads.invariants import check_invariants
from tests.store import verbs
from tests.store.lab import Lab, new

DAY_MS = 86_400_000
WEEK_S = 7 * 86_400


class Place:
    """A store and its retention, whose sweeps a test makes itself."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab = lab
        self.clock = Clock(None, boottime=lambda: lab.store_ms, wall=lambda: lab.wall_ms)
        self.folder = folder
        self.files: list[str] = []
        """Log files that were to be removed."""
        self.retention = Retention(lab.store, self.clock, folder, self.files.extend)

    async def sweep(self) -> int | None:
        """Forget what is old enough; in how many milliseconds more will be."""
        self.retention._keeps = self.retention._read_keeps()
        due_ms = await self.retention._sweep()
        return None if due_ms is None else due_ms - self.lab.wall_ms

    async def ended(self, count: int = 1, exit_code: int = 0, **fields: Any) -> list[int]:
        """Jobs that have ended."""
        worker = self.lab.workers[0] if self.lab.workers else (await self.lab.hire())[0]
        added = await self.lab.store.intake.add_many([new(**fields) for _ in range(count)], now=self.lab.now)
        outcomes: list[Any] = []
        for _ in range(count + 1):
            claimed = (await self.lab.turn(outcomes, [worker])).claimed
            outcomes = [self.lab.end(each, exit_code) for each in claimed]
        return added.seqs

    async def there(self) -> list[int]:
        """The jobs that are left."""
        return [job.seq for job in await self.lab.store.queries.many(range(1, 2000))]


def placed(scenario: Callable[[Place], Awaitable[None]]) -> Callable[[Path], None]:
    def test(tmp_path: Path) -> None:
        lab = Lab(tmp_path / "queuectl.db")

        async def run() -> None:
            lab.open()
            try:
                await scenario(Place(lab, tmp_path))
            finally:
                await lab.store.close()

        asyncio.run(run())
        assert check_invariants(lab.path) == []

    test.__name__ = scenario.__name__
    return test


@placed
async def test_jobs_go_when_they_have_been_kept_so_long_and_the_next_look_is_when_more_may(place: Place) -> None:
    lab = place.lab
    first = await place.ended(3)
    assert await place.sweep() is None, "kept for ever, nothing is to be done"
    await lab.store.config_set("keep_completed", WEEK_S, now=lab.now)
    lab.pass_time(6 * DAY_MS)
    second = await place.ended(2)
    assert await place.sweep() == DAY_MS + 7
    assert await place.there() == first + second
    lab.pass_time(DAY_MS + 7)
    assert await place.sweep() == 6 * DAY_MS
    assert await place.there() == second


@placed
async def test_jobs_that_ended_soon_after_one_another_go_together(place: Place) -> None:
    """Each look is at all jobs, so it is not taken for each of them."""
    lab = place.lab
    await lab.store.config_set("keep_completed", WEEK_S, now=lab.now)
    await place.ended()
    lab.pass_time(60_000)
    await place.ended()
    lab.pass_time(7 * DAY_MS)
    assert await place.sweep() == retention.HOUR_MS
    lab.pass_time(retention.HOUR_MS)
    assert await place.sweep() is None
    assert await place.there() == []


@placed
async def test_each_state_has_its_own_time_and_waiting_jobs_have_none(place: Place) -> None:
    lab = place.lab
    (good,) = await place.ended()
    waiting = await lab.add(hold=True)
    cancelled = await lab.add()
    await verbs.cancel(lab.store, [cancelled.seq], now=lab.now)
    await lab.store.config_set("keep_cancelled", 1, now=lab.now)
    lab.pass_time(400 * DAY_MS)
    await place.sweep()
    assert await place.there() == [good, waiting.seq]


@placed
async def test_a_job_that_was_retried_meanwhile_is_not_removed(place: Place) -> None:
    lab = place.lab
    (seq,) = await place.ended()
    lab.pass_time(DAY_MS)
    assert (await verbs.prune(lab.store, [seq], {JobState.DEAD: lab.wall_ms}, now=lab.now)).count == 0
    await verbs.retry(lab.store, [seq], now=lab.now)
    assert (await verbs.prune(lab.store, [seq], {JobState.COMPLETED: lab.wall_ms}, now=lab.now)).count == 0
    assert (await lab.get(seq)).state is JobState.PENDING


@placed
async def test_many_old_jobs_go_in_slices_with_one_event_each(place: Place) -> None:
    lab = place.lab
    seqs = (await lab.store.intake.add_many([new() for _ in range(1200)], now=lab.now)).seqs
    for start in range(0, 1200, 400):
        await verbs.cancel(lab.store, seqs[start : start + 400], now=lab.now)
    lab.pass_time(1000)
    removed, other = await asyncio.gather(place.retention.prune([JobState.CANCELLED], 0), lab.add())
    assert removed == 1200 > 2 * upkeep.SLICE
    assert await place.there() == [other.seq]
    assert lab.kinds().count("jobs.removed") == 3
    assert "job.removed" not in lab.kinds()


@placed
async def test_answers_are_kept_for_a_day(place: Place) -> None:
    lab = place.lab
    first = await verbs.add(lab.store, new(), now=lab.now, request="r")
    assert await place.sweep() == DAY_MS
    lab.pass_time(DAY_MS)
    assert (await verbs.add(lab.store, new(), now=lab.now, request="r")).seq == first.seq
    lab.pass_time(1)
    assert await place.sweep() is None
    assert (await verbs.add(lab.store, new(), now=lab.now, request="r")).seq != first.seq


def test_the_newest_events_are_kept_and_not_a_few_forgotten_at_each_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "KEEP_EVENTS", 20)
    monkeypatch.setattr(retention, "SPARE_EVENTS", 10)

    @placed
    async def scenario(place: Place) -> None:
        lab = place.lab
        for _ in range(30):
            await lab.add()
        await place.sweep()
        assert await lab.store.oldest_event() == 1
        for _ in range(2):
            await lab.add()
        await place.sweep()
        assert await lab.store.oldest_event() == 13
        for _ in range(10):
            await lab.add()
        await place.sweep()
        assert await lab.store.oldest_event() == 13
        for _ in range(2):
            await lab.add()
        await place.sweep()
        assert await lab.store.oldest_event() == 25

    scenario(tmp_path)


@placed
async def test_old_jobs_go_with_their_output_and_so_do_files_of_jobs_that_are_gone(place: Place) -> None:
    lab = place.lab
    await lab.add()
    output = {"both": Output(9, None, (("0/1.1.1.log", 0, 9),))}
    await lab.turn([lab.end(await lab.claim(), output=output)])
    lab.pass_time(1000)
    await place.retention.prune([JobState.COMPLETED], 0)
    assert place.files == ["0/1.1.1.log"]

    # The next daemon finds what one left that died in between. Numbers that are not given yet are another store's.
    stays = await lab.add()
    await lab.restart()
    place = Place(lab, place.folder)
    folder = place.folder / "0"
    folder.mkdir()
    for seq in (1, stays.seq, lab.store.first_seq, 900):
        (folder / f"{seq}.1.1.log").touch()
    await place.retention._clear_logs()
    assert place.files == ["0/1.1.1.log"]


@placed
async def test_it_is_woken_for_what_gets_old_and_for_nothing_else(place: Place) -> None:
    """Run as the daemon runs it. Nothing is looked at on a beat."""
    lab = place.lab
    lab.wall_ms = time.time_ns() // 1_000_000  # the alarm is on the real clock
    sweeps = 0
    real = place.retention._sweep

    async def counted() -> int | None:
        nonlocal sweeps
        due = await real()
        sweeps += 1
        return due

    place.retention._sweep = counted  # type: ignore[method-assign]
    lab.store.subscribe(place.retention.committed)
    task = asyncio.get_running_loop().create_task(place.retention.run())
    (seq,) = await place.ended()
    await until(lambda: sweeps == 1)
    await lab.store.config_set("keep_completed", 3600, now=lab.now)
    await until(lambda: sweeps == 2 and place.retention._due_ms is not None)
    assert place.retention._due_ms == lab.wall_ms + 7 + 3_600_000
    lab.pass_time(3_600_007)
    place.retention._wake.set()
    await until(lambda: sweeps == 3)
    assert await lab.store.queries.get(seq) is None
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def until(look: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not look():
            await asyncio.sleep(0.01)
