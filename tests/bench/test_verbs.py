"""What each verb costs does not depend on how many jobs there are. Counted, never timed: this runs on any machine.

Every method on jobs beside 1,000 jobs and beside 100,000, half of them ended. What is answered in a page takes as many
statements and commits in both, as many messages, and nearly as many steps of SQLite; what goes through all of them
takes as much for each job. A verb goes from its parameters on the wire to the bytes of its answer.
"""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from queuectl_client.paths import resolve
from queuectl_client.protocol import rpc
from queuectl_client.protocol.messages import REQUESTS
from queuectld.core import Core, Setup
from queuectld.server.router import find_route
from queuectld.store.reads.invariants import findings
from queuectld.store.records import MAX_LOOKED_AT
from tests.bench.effort import Meter
from tests.bench.stores import fill

FEW, MANY = 1_000, 100_000
STEPS_APART: Final = 1.15
"""Steps depend a little on where a row happens to lie; a walk over the rows would be a factor of 100."""
STEPS_MORE: Final = 200
WINDOW: Final = 2 * MAX_LOOKED_AT
"""Steps to where the rows end that a page may look at."""
STEPS_A_ROW: Final = 60
"""Of a listing that may look at so many rows, and no more, for a page."""
SAMPLE: Final = 20
"""Steps are counted in such units: each count is a call of Python."""

Params = dict[str, Any]
Verb = tuple[str, Callable[[int], Params]]
"""A method, and its parameters beside so many jobs. The first half of them has ended, the other half waits."""


def same(method: str, **params: Any) -> Verb:
    return method, lambda _: params


ENQUEUE: Final = {"command": "true", "queue": "new", "environment": {"HOME": "/"}}
PAGES: Final[tuple[Verb, ...]] = (
    same("enqueue", **ENQUEUE),
    same("enqueue", **ENQUEUE, depends_on=["1-100"]),
    same("enqueue_many", jobs=[ENQUEUE] * 100),
    same("status"),
    same("list", limit=100),
    same("list", limit=100, order="newest"),
    same("list", limit=100, order="newest", keys=["id", "state"]),
    same("list", state="dead"),
    same("list", state=["failed", "held"], order="newest"),
    same("list", seqs=[5, 4, 3]),
    same("list", ids=["5", "job_4"]),
    same("list", after="500", limit=10),
    ("job.get", lambda jobs: {"id": f"job_{jobs}"}),
    same("job.get", id="last"),
    same("job.wait", ids=["job_7"], timeout=0),
    same("job.wait", ids=[f"job_{seq}" for seq in range(1, 101)], timeout=0),
    same("job.wait", ids=["1-100"], timeout=0),
    same("job.wait", ids=["@dead"], timeout=0),
    same("job.wait", timeout=0),
    ("job.explain", lambda jobs: {"id": str(jobs // 2 + 10)}),
    ("job.edit", lambda jobs: {"id": str(jobs // 2 + 11), "changes": {"priority": 3}}),
    ("job.move", lambda jobs: {"id": str(jobs // 2 + 12), "first": True}),
    ("job.move", lambda jobs: {"id": str(jobs // 2 + 13), "last": True}),
    ("job.move", lambda jobs: {"id": str(jobs // 2 + 14), "before": str(jobs // 2 + 90)}),
    ("job.hold", lambda jobs: {"ids": [str(jobs // 2 + 15)]}),
    ("job.hold", lambda jobs: {"ids": [f"{jobs // 2 + 100}-{jobs // 2 + 199}"]}),
    same("job.release", ids=["@held"], limit=50),
    ("job.cancel", lambda jobs: {"ids": [str(jobs // 2 + 16), str(jobs // 2 + 17)]}),
    ("job.cancel", lambda jobs: {"ids": [f"{jobs // 2 + 200}-{jobs // 2 + 249}"]}),
    ("job.retry", lambda jobs: {"ids": [str(jobs // 2 + 16)]}),
    ("job.remove", lambda jobs: {"ids": [str(jobs // 2 + 17)]}),
    same("job.remove", ids=["1-100"]),
    same("dlq.list"),
    same("dlq.retry", all=True),
    same("dlq.purge", all=True),
    same("config.get", key="max_retries"),
    same("config.set", key="max_retries", value=4),
    same("config.list"),
    same("queue.list"),
    same("queue.set", name="new", concurrency=2),
    same("queue.pause", name="new"),
    same("queue.resume", name="new"),
    same("queue.set", name="empty", concurrency=2),
    same("queue.remove", name="empty"),
)
WALKS: Final[tuple[Verb, ...]] = (
    same("list", filter="attempts>5 or label.user=ada"),
    same("list", queue="new", order="newest"),
    same("list", label={"user": "ada"}, limit=10),
)
"""One answer of these looks at no more than a page's rows, however few it finds."""
ALL: Final[tuple[Verb, ...]] = (
    same("job.wait", ids=["all"], timeout=0, limit=0),
    same("job.wait", ids=["@completed"], timeout=0, limit=1_000, keys=["id", "state"]),
    same("job.wait", ids=["name:x*", "label:a=b", "1"], timeout=0),
    ("job.hold", lambda jobs: {"ids": ["label:user=ada", str(jobs // 2 + 18)], "limit": 10, "dry_run": True}),
    ("job.wait", lambda jobs: {"ids": [f"job_{seq}" for seq in range(1, jobs // 2)], "timeout": 0, "limit": 0}),
    same("list", sort="created_at", limit=10, keys=["id"]),
    same("list", sort="command", descending=True, limit=10, keys=["id"]),
    same("list", keys=["id"]),
    same("job.cancel", ids=["@pending"], dry_run=True, limit=5_000),
    same("job.prune", dry_run=True),
)
"""These go through all jobs, page by page."""
ELSEWHERE: Final = frozenset({
    "hello", "ping", "batch.open", "batch.add", "batch.commit", "job.logs", "job.kill", "job.send", "job.pause",
    "job.resume", "config.unset", "worker.start", "worker.stop", "worker.list", "worker.scale", "daemon.info",
    "daemon.drain", "daemon.shutdown", "events.subscribe",
})  # fmt: skip
"""They ask nothing of the store, are about what runs, or (batches) do what `enqueue_many` does."""


class Cost(NamedTuple):
    """What one verb took, all its pages together."""

    statements: float
    commits: float
    steps: float
    messages: int


class _Peer:
    """A client that has opened no batch."""

    batches: Mapping[str, Any] = {}


class Bench:
    """A daemon's core without workers, in which verbs are carried out and counted."""

    def __init__(self, home: Path) -> None:
        setup = Setup(resolve({"QUEUECTL_HOME": str(home)}), 1024, lambda: None, lambda _: None)
        self.core = Core(setup)
        self._meter = Meter(self.core.store, every=SAMPLE)

    async def cost(self, verb: Verb, jobs: int) -> Cost:
        """Carry out a verb, with all pages of its answer."""
        method, params = verb
        messages = 0

        async def run() -> None:
            nonlocal messages
            asked: Params = params(jobs)
            while True:
                answer = await self._answer(method, asked)
                messages += 2
                if not isinstance(answer, Mapping) or answer.get("next") is None or asked.get("limit") == 0:
                    return
                if verb not in ALL:
                    return
                asked = {**asked, "after": answer["next"]}

        effort = await self._meter.of(1, run)
        return Cost(effort.statements, effort.commits, effort.steps, messages)

    async def check(self) -> Cost:
        """What `doctor` asks of the store."""

        async def run() -> None:
            assert await self.core.store._reader.submit(findings) == []

        effort = await self._meter.of(1, run)
        return Cost(effort.statements, effort.commits, effort.steps, 0)

    async def _answer(self, method: str, params: Params) -> Any:
        route = find_route(method)
        frame = rpc.request(1, method, params)
        (sent,) = rpc.Decoder().feed(frame)
        assert isinstance(sent, rpc.Request)
        request = REQUESTS[method].from_map(rpc.params_of(sent.params))
        result = await route.handle(self.core.service, _Peer(), request)  # type: ignore[arg-type]
        assert len(rpc.response(1, result)) < rpc.MAX_MESSAGE_BYTES
        return result


Costs = Mapping[str, Cost]


def costs(folder: Path, jobs: int) -> Costs:
    """The cost of each verb beside so many jobs."""
    fill(folder / str(jobs) / "queuectl.db", jobs // 2, finished=jobs // 2)

    async def measure() -> Costs:
        bench = Bench(folder / str(jobs))
        try:
            # Once more often than it is counted: what is asked for the first time may be prepared.
            for warm_up in PAGES[:4]:
                await bench.cost(warm_up, jobs)
            found = {"doctor": await bench.check()}
            return found | {name_of(verb): await bench.cost(verb, jobs) for verb in (*ALL, *WALKS, *PAGES)}
        finally:
            await bench.core.store.close()

    return asyncio.run(measure())


def name_of(verb: Verb) -> str:
    return f"{verb[0]} {str(verb[1](0))[:70]}"


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Costs, Costs]:
    folder = tmp_path_factory.mktemp("q")
    return costs(folder, FEW), costs(folder, MANY)


Both = tuple[Costs, Costs]


def test_every_method_is_counted_or_has_a_reason_not_to_be() -> None:
    assert {method for method, _ in (*PAGES, *WALKS, *ALL)} | ELSEWHERE == set(REQUESTS)


@pytest.mark.parametrize("verb", PAGES, ids=name_of)
def test_a_page_costs_the_same_beside_a_hundred_times_as_many_jobs(both: Both, verb: Verb) -> None:
    few, many = (each[name_of(verb)] for each in both)
    assert (many.statements, many.commits, many.messages) == (few.statements, few.commits, few.messages)
    assert many.steps <= few.steps * STEPS_APART + (WINDOW if verb[0] == "list" else STEPS_MORE)


@pytest.mark.parametrize("verb", WALKS, ids=name_of)
def test_a_page_of_what_is_rare_looks_no_farther_than_it_may(both: Both, verb: Verb) -> None:
    few, many = (each[name_of(verb)] for each in both)
    assert many.messages == few.messages
    assert many.steps <= few.steps + STEPS_A_ROW * MAX_LOOKED_AT


@pytest.mark.parametrize("name", ["doctor", *map(name_of, ALL)])
def test_what_goes_through_all_jobs_takes_as_much_for_each(both: Both, name: str) -> None:
    few, many = (each[name] for each in both)
    more = MANY / FEW
    assert many.steps <= few.steps * more * STEPS_APART + many.messages / 2 * WINDOW
    assert many.statements <= few.statements * more
    assert many.messages <= max(few.messages * more, 2)
