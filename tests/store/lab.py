"""A store in a folder of its own, with a clock that is turned by hand; checked when the test ends."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from queuectld.domain.job import Claimed, Job, NewJob, Now, Options
from queuectld.domain.outcome import EndKind, Outcome
from queuectld.domain.retry import RetryPolicy
from queuectld.store.reads.invariants import check_invariants
from queuectld.store.records import Committed, Event, StoreFailed, Turn
from queuectld.store.store import Store
from tests.store import verbs

RETRY = RetryPolicy(max_retries=3, backoff_base=2, backoff_max=3600)
ENVIRONMENT = {"HOME": "/home/ann", "PATH": "/usr/bin"}


class Lab:
    """What a test of the store works with. Wall time and store time differ, so that nobody can mix them up."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.wall_ms = 1_700_000_000_000
        self.store_ms = 5_000
        self.events: list[Event] = []
        self.commits: list[Committed] = []
        self.broken: list[StoreFailed] = []
        self.workers: list[int] = []
        self.store: Store

    @property
    def now(self) -> Now:
        """The time, until it is turned on."""
        return Now(self.wall_ms, self.store_ms)

    def pass_time(self, ms: int) -> None:
        """Let both clocks go on."""
        self.wall_ms += ms
        self.store_ms += ms

    def open(self) -> None:
        """Open the store, as a daemon does at its start."""
        self.store = Store.open(
            self.path, host="here", loop=asyncio.get_running_loop(), on_broken=self.broken.append
        )
        self.store.subscribe(self._committed)

    async def restart(self) -> None:
        """Close the store and open it again."""
        await self.store.close()
        self.open()

    def _committed(self, committed: Committed) -> None:
        self.commits.append(committed)
        self.events.extend(committed.events)

    async def hire(self, count: int = 1) -> list[int]:
        """Add workers."""
        pool = await self.store.pool_add("detached", count, now=self.now)
        hired = [await self.store.worker_add(pool, number, now=self.now) for number in range(1, count + 1)]
        self.workers.extend(hired)
        return hired

    async def add(self, command: Any = "true", **fields: Any) -> Job:
        """Store a job."""
        return await verbs.add(self.store, new(command, **fields), now=self.now)

    async def turn(
        self, outcomes: Sequence[Outcome] = (), free: Sequence[int] = (), dedicated: dict[int, int] | None = None
    ) -> Turn:
        """Take a turn; three crashes are allowed."""
        return await self.store.turn(outcomes, free, dedicated or {}, now=self.now, crash_limit=3, chance=0.0)

    async def claim(self, worker: int | None = None) -> Claimed:
        """Have the best job claimed."""
        if worker is None:
            worker = self.workers[0] if self.workers else (await self.hire())[0]
        claimed = (await self.turn(free=[worker])).claimed
        assert len(claimed) == 1, "there was nothing to claim"
        return claimed[0]

    async def drain(self, worker: int) -> list[str]:
        """Run all that is ready, one after the other; the ids in the order in which they ran."""
        order: list[str] = []
        ended: list[Outcome] = []
        while True:
            claimed = (await self.turn(ended, [worker])).claimed
            if not claimed:
                return order
            order.append(claimed[0].id)
            ended = [self.end(claimed[0])]

    def end(self, claimed: Claimed, exit_code: int = 0, **fields: Any) -> Outcome:
        """How a claimed job ended."""
        values: dict[str, Any] = {
            "seq": claimed.seq, "run": claimed.run, "kind": EndKind.EXITED, "started_ms": self.wall_ms,
            "finished_ms": self.wall_ms + 7, "duration_ms": 7, "exit_code": exit_code, "worker": claimed.worker,
        }  # fmt: skip
        return Outcome(**(values | fields))

    async def get(self, seq: int) -> Job:
        """The job, which is there."""
        job = await self.store.queries.get(seq)
        assert job is not None
        return job

    def kinds(self) -> list[str]:
        """The kinds of the events told so far."""
        return [str(event.kind) for event in self.events]


def new(command: Any = "true", **fields: Any) -> NewJob:
    """A job to be stored; `fields` are its own and those of its options."""
    options = {name: fields.pop(name) for name in fields.keys() & {*Options._fields}}
    return NewJob(command, **{"options": Options(**{"retry": RETRY, **options}), "environment": ENVIRONMENT, **fields})


Scenario = Callable[[Lab], Awaitable[None]]


def in_lab(scenario: Scenario) -> Callable[[Path], None]:
    """A test that is given an open store; afterwards it is closed and must hold what always holds."""

    def test(tmp_path: Path) -> None:
        lab = Lab(tmp_path / "home" / "queuectl.db")

        async def run() -> None:
            lab.open()
            try:
                await scenario(lab)
            finally:
                await lab.store.close()

        asyncio.run(run())
        assert check_invariants(lab.path) == []

    test.__name__ = scenario.__name__
    test.__doc__ = scenario.__doc__
    return test
