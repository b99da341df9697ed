"""The loop of turns with a real store: its wake-ups, and what a turn stores."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from queuectl_client.protocol.vocabulary import JobState
from queuectld.domain.job import Claimed
from queuectld.scheduler.clock import Clock
from queuectld.scheduler.dispatcher import Dispatcher
from queuectld.scheduler.inbox import Inbox
from queuectld.store.records import Committed, StoredOutcome
from tests.store.lab import Lab

PATIENCE = 20


class OneWorker:
    """A pool of one worker that is free until it has a job."""

    def __init__(self, worker: int) -> None:
        self.worker = worker
        self.started: asyncio.Queue[Claimed] = asyncio.Queue()
        self.told: asyncio.Queue[StoredOutcome] = asyncio.Queue()
        self._is_free = True

    def free(self) -> Sequence[int]:
        return [self.worker] if self._is_free else []

    def dedicated(self) -> dict[int, int]:
        return {}

    async def start(self, claimed: Claimed) -> bool:
        self._is_free = False
        self.started.put_nowait(claimed)
        return True

    def stored(self, outcomes: Sequence[StoredOutcome]) -> None:
        self._is_free = self._is_free or bool(outcomes)
        for each in outcomes:
            self.told.put_nowait(each)


class Running(Lab):
    """A store whose commits wake the turns."""

    turns: Dispatcher | None = None
    inbox: Inbox

    def _committed(self, committed: Committed) -> None:
        super()._committed(committed)
        if self.turns is not None:
            self.turns.committed(committed)


def running(scenario: Callable[[Running, OneWorker], Awaitable[None]]) -> Callable[[Path], None]:
    """A test with a loop of turns that has found nothing to do yet."""

    def test(tmp_path: Path) -> None:
        lab = Running(tmp_path / "queuectl.db")

        async def run() -> None:
            lab.open()
            pool = OneWorker((await lab.hire())[0])
            lab.inbox = Inbox()
            lab.turns = Dispatcher(lab.store, Clock(None), lambda _: 3, pool, lab.inbox)
            going = asyncio.create_task(lab.turns.run())
            try:
                async with asyncio.timeout(PATIENCE):
                    await scenario(lab, pool)
            finally:
                going.cancel()
                await asyncio.gather(going, return_exceptions=True)
                await lab.store.close()

        asyncio.run(run())

    test.__name__ = scenario.__name__
    return test


@running
async def test_a_job_that_is_added_starts_and_its_end_is_stored_and_told(lab: Running, pool: OneWorker) -> None:
    assert lab.turns is not None
    for _ in range(2):  # the second time the loop has found nothing to do before
        job = await lab.add()
        claimed = await pool.started.get()
        assert claimed.seq == job.seq
        lab.inbox.report(lab.end(claimed))
        stored = await pool.told.get()
        assert (stored.seq, stored.state) == (job.seq, JobState.COMPLETED)
