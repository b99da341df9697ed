"""What a job costs does not depend on how many others wait. Counted, never timed: this runs on any machine.

Two stores are opened, one with a hundred waiting jobs and one with ten thousand, half of them in a paused queue, and
as many finished ones. The same work is done in both, and has to take as many statements, commits and steps.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import pytest

from queuectl_client.protocol import filters
from queuectld.domain.job import Claimed, NewJob, Options
from queuectld.domain.outcome import EndKind, Outcome
from queuectld.scheduler.clock import Clock
from queuectld.store.records import MAX_LOOKED_AT, ListQuery
from queuectld.store.store import Store
from tests.bench.creations import Creations
from tests.bench.effort import Effort, Meter
from tests.bench.stores import RETRY, fill
from tests.store import verbs
from tests.support.daemon import Home

FEW, MANY = 100, 10_000
TIMES = 25
WORKERS = 4
FIRST = 1
STEPS_APART = 1.05
"""Steps depend a little on where a row happens to lie on its page; a walk over the rows would be a factor of 100."""
STEPS_MORE = {
    "The page that `list` shows on a terminal.": 2 * MAX_LOOKED_AT,
    "A page of a filter that few jobs fit, a few keys of each.": 30 * MAX_LOOKED_AT,
}
"""A listing may walk so far, and no farther, for what it is asked for; a filter looks at each job it comes by."""
NOW = Clock(None).now()
JOB = NewJob(command="echo out", options=Options(RETRY), priority=FIRST, environment={"HOME": "/"})

Work = Callable[[], Awaitable[object]]


class Bench:
    """An open store, and the work that is counted in it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.workers: Sequence[int] = ()
        self._running: Sequence[Claimed] = ()
        self._seqs: list[int] = []

    async def hire(self) -> None:
        pool = await self.store.pool_add("detached", WORKERS, now=NOW)
        self.workers = [await self.store.worker_add(pool, number, now=NOW) for number in range(WORKERS)]

    async def add(self) -> None:
        """Enqueue one job."""
        self._seqs.append((await verbs.add(self.store, JOB, now=NOW, request=f"r{len(self._seqs)}")).seq)

    async def add_many(self) -> None:
        """Enqueue a hundred."""
        await self.store.intake.add_many([JOB] * 100, now=NOW)

    async def turn(self) -> None:
        """End four jobs and claim four others."""
        outcomes = [
            Outcome(job.seq, job.run, EndKind.EXITED, NOW.wall_ms, NOW.wall_ms, exit_code=0, worker=job.worker)
            for job in self._running
        ]
        turn = await self.store.turn(outcomes, self.workers, {}, now=NOW, crash_limit=3, chance=0)
        assert len(turn.claimed) == WORKERS
        self._running = turn.claimed

    async def cancel(self) -> None:
        """End a waiting job for good."""
        await verbs.cancel(self.store, [self._seqs.pop()], now=NOW)

    async def status(self) -> None:
        """Count all jobs by their state."""
        await self.store.counts()

    async def newest(self) -> None:
        """The page that `list` shows on a terminal."""
        page = await self.store.queries.page(ListQuery(newest_first=True, limit=50))
        assert len(page.jobs) == 50

    async def filtered(self) -> None:
        """A page of a filter that few jobs fit, a few keys of each."""
        where = filters.parse("queue!=default and (label.user=ada or attempts>5)")
        page = await self.store.queries.rows(ListQuery(where=where, newest_first=True, limit=50), ("id", "command"))
        assert page.rows == []

    async def show(self) -> None:
        """One job with its attempts."""
        seq = await verbs.find(self.store, str(self._running[0].seq))
        assert seq is not None
        await self.store.queries.get(seq)
        await self.store.queries.attempts(seq)


async def counted(path: Path) -> Mapping[str, Effort]:
    """What each kind of work takes in the store at `path`."""
    store = Store.open(path, host="here", loop=asyncio.get_running_loop())
    try:
        bench = Bench(store)
        await bench.hire()
        for warm_up in (bench.add_many, bench.turn, bench.add, bench.status):
            await warm_up()
        meter = Meter(store)
        # The order matters: what is claimed and cancelled has to be there.
        works: Sequence[Work] = (
            bench.add, bench.add_many, bench.turn, bench.cancel, bench.status, bench.newest, bench.filtered, bench.show
        )  # fmt: skip
        return {(work.__doc__ or "").strip(): await meter.of(TIMES, lambda work=work: _repeat(work)) for work in works}
    finally:
        await store.close()


async def _repeat(work: Work) -> None:
    for _ in range(TIMES):
        await work()


def efforts(folder: Path, waiting: int) -> Mapping[str, Effort]:
    """What each kind of work takes beside so many waiting and as many finished jobs."""
    path = folder / str(waiting) / "queuectl.db"
    fill(path, waiting, finished=waiting)
    return asyncio.run(counted(path))


@pytest.fixture(scope="module")
def few_and_many(tmp_path_factory: pytest.TempPathFactory) -> tuple[Mapping[str, Effort], Mapping[str, Effort]]:
    folder = tmp_path_factory.mktemp("stores")
    return efforts(folder, FEW), efforts(folder, MANY)


Both = tuple[Mapping[str, Effort], Mapping[str, Effort]]


def test_each_kind_of_work_takes_as_many_statements_in_a_long_queue(few_and_many: Both) -> None:
    few, many = ({name: effort.statements for name, effort in each.items()} for each in few_and_many)
    assert few == many
    assert {name for name, statements in few.items() if not statements} == {"Count all jobs by their state."}


def test_each_kind_of_work_takes_as_many_commits_in_a_long_queue(few_and_many: Both) -> None:
    few, many = ({name: effort.commits for name, effort in each.items()} for each in few_and_many)
    assert few == many
    assert few["Enqueue one job."] == few["End four jobs and claim four others."] == 1


def test_no_work_walks_over_a_long_queue(few_and_many: Both) -> None:
    few, many = few_and_many
    longer = {
        name: (few[name].steps, many[name].steps)
        for name in few
        if many[name].steps > few[name].steps * STEPS_APART + STEPS_MORE.get(name, 0)
    }
    assert longer == {}


@pytest.mark.parametrize("waiting", [FEW, MANY])
def test_a_job_with_little_output_creates_no_file(home: Home, waiting: int) -> None:
    fill(home.store, waiting)
    home.start_daemon()
    home.ok("worker", "start", "-d", "--count", "2")
    home.ok("enqueue", "--priority", "1", "--wait", "echo warm")
    jobs = "".join('{"command": "echo out", "priority": 1}\n' for _ in range(TIMES))
    with Creations(home.path) as creations:
        ids = home.ok("enqueue", "-q", "-f", "-", input=jobs).split()
        home.ok("wait", *ids)
        assert creations.names() == []
    assert home.ok("logs", ids[0]) == "out\n"
