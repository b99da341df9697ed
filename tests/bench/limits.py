"""What a claim costs beside many jobs that a limit holds back, for each kind of limit.

Measured in the store itself, with its fsyncs: a turn that ends four jobs and claims four others, and one enqueue. The
jobs that are measured are in a queue of their own; the shortest and the longest line take turns.
"""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

from queuectld.domain.job import Claimed, NewJob, Options
from queuectld.domain.outcome import EndKind, Outcome
from queuectld.scheduler.clock import Clock
from queuectld.store.store import Store
from tests.bench.report import Row, at_most, ms
from tests.bench.rounds import Scale, ratio
from tests.bench.stores import LOWEST, PIECE, RETRY, settle
from tests.store import verbs

WORKERS = 4
WORST = 1.3
TURNS = 50
NOW = Clock(None).now()
JOB = NewJob(command="echo out", options=Options(RETRY), queue="others", priority=1, environment={"HOME": "/"})
HELD_BACK = NewJob(command=":", options=Options(RETRY), queue="parked", priority=LOWEST, environment={"HOME": "/"})


class Kind(NamedTuple):
    """A limit: how it is set, and what a job has that it holds back. One such job is in hand before the others come."""

    name: str
    keys: Mapping[str, Any] = {}
    limits: Mapping[str, Any] = {}
    resources: str | None = None
    pause: bool = False


KINDS = (
    Kind("in a paused queue", pause=True),
    Kind("of a full queue", limits={"concurrency": 1}),
    Kind("over a rate", limits={"rate": "1/d"}),
    Kind("of a key", keys={"key": "k"}),
    Kind("blocked by a job", keys={"depends_on": (("parent", "completed"),)}),
    Kind("without a resource", keys={"needs": {"gpu": 1}}, resources="gpu=1"),
)


def _with(job: NewJob, keys: Mapping[str, Any]) -> NewJob:
    """The job with other values for some of its fields or of those of its options."""
    options = {name: value for name, value in keys.items() if name in Options._fields}
    others = {name: value for name, value in keys.items() if name not in Options._fields}
    return job._replace(options=job.options._replace(**options), **others)


class Beside:
    """An open store in which many jobs are held back, and the work that is done beside them."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._workers: Sequence[int] = ()
        self._running: Sequence[Claimed] = ()

    @classmethod
    async def filled(cls, path: Path, kind: Kind, count: int) -> "Beside":
        """Make the store at `path`, and let so many jobs be held back in it."""
        beside = cls(Store.open(path, host="here", loop=asyncio.get_running_loop()))
        store = beside.store
        pool = await store.pool_add("detached", WORKERS + 1, now=NOW)
        last, *beside._workers = [await store.worker_add(pool, number, now=NOW) for number in range(WORKERS + 1)]
        if kind.resources is not None:
            await store.config_set("resources", kind.resources, now=NOW)
        await store.queue_set("parked", now=NOW, paused=False, **kind.limits)
        held_by = {} if "depends_on" in kind.keys else kind.keys
        await verbs.add(store, _with(HELD_BACK, held_by)._replace(id="parent"), now=NOW)
        await beside._turn([], [last])
        await store.queue_pause("parked", kind.pause, now=NOW)
        for start in range(0, count, PIECE):
            await store.intake.add_many([_with(HELD_BACK, kind.keys)] * min(PIECE, count - start), now=NOW)
        await store.intake.add_many([JOB] * 2 * WORKERS, now=NOW)
        await beside.turn()
        while (await store.turn([], [], {}, now=NOW, crash_limit=3, chance=0)).more:
            pass  # until all of them were considered
        return beside

    async def turn(self) -> None:
        """End four jobs, claim four others."""
        outcomes = [
            Outcome(job.seq, job.run, EndKind.EXITED, NOW.wall_ms, NOW.wall_ms, exit_code=0, worker=job.worker)
            for job in self._running
        ]
        self._running = await self._turn(outcomes, self._workers)
        assert [job.queue for job in self._running] == ["others"] * WORKERS

    async def add(self) -> None:
        """Enqueue one job."""
        await verbs.add(self.store, JOB, now=NOW)

    async def refill(self) -> None:
        """Let there be jobs for the turns of a round; not measured."""
        await self.store.intake.add_many([JOB] * WORKERS * TURNS, now=NOW)

    async def _turn(self, outcomes: Sequence[Outcome], free: Sequence[int]) -> Sequence[Claimed]:
        return (await self.store.turn(outcomes, free, {}, now=NOW, crash_limit=3, chance=0)).claimed


def measure(scale: Scale) -> list[Row]:
    """Two rows for each kind: half of the longest queue held back beside the shortest one."""
    rows = []
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            rows += asyncio.run(_compare(Path(folder), kind, scale))
    return rows


async def _compare(folder: Path, kind: Kind, scale: Scale) -> list[Row]:
    few, many = scale.sizes[0], scale.sizes[-1] // 2
    both = [await Beside.filled(folder / str(count) / "queuectl.db", kind, count) for count in (few, many)]
    settle()
    try:
        found: dict[str, tuple[list[float], list[float]]] = {"a turn": ([], []), "one enqueue": ([], [])}
        for _ in range(scale.rounds):
            for beside in both:
                await beside.refill()
            for what, work in (("a turn", Beside.turn), ("one enqueue", Beside.add)):
                for place, took in enumerate(await _in_turn(both, work)):
                    found[what][place].append(median(took))
    finally:
        for beside in both:
            await beside.store.close()
    return [
        Row(f"{what} beside {many:,} {kind.name}", ms(median(long)), f"{few:,}", ms(median(short)),
            ratio(long, short), at_most(WORST))
        for what, (short, long) in found.items()
    ]  # fmt: skip


async def _in_turn(
    both: Sequence[Beside], work: Callable[[Beside], Awaitable[object]]
) -> tuple[list[float], list[float]]:
    """One after the other again and again, so that both see the same machine."""
    took: tuple[list[float], list[float]] = ([], [])
    for _ in range(TURNS):
        for place, beside in enumerate(both):
            began = perf_counter()
            await work(beside)
            took[place].append(perf_counter() - began)
    return took
