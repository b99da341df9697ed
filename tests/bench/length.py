"""The same work beside 1,000 waiting jobs and beside a million, and beside a million finished ones too.

A daemon for each length runs all the time; they take turns, so that all lengths see the same machine. Half of what
waits is in a paused queue, the other half could run: the daemon is told to claim nothing except while it is timed, and
what is timed has a higher priority.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from statistics import median
from time import perf_counter

from tests.bench.arena import WORKERS, Arena, arena
from tests.bench.latency import Bell, bell
from tests.bench.report import Row, at_most, ms
from tests.bench.rounds import Rounds, Scale, ratio, seconds, take_turns, typical
from tests.bench.stores import COMMAND, LOWEST, fill
from tests.bench.throughput import commands
from tests.support.eventually import eventually

Work = Callable[["Standing"], float]
WORST = 1.3
FIRST = 10
"""The priority of what is timed."""
PIECE = 1_000
QUICK = frozenset({"status", "show a job", "cancel a job"})
OFTEN = 5
"""What is quick is over before a disturbance is: it gets so many times the rounds."""
MONTHS = " and finished"


class Standing:
    """An arena with a queue of a certain length, which claims nothing."""

    def __init__(self, ours: Arena, length: int) -> None:
        self.ours = ours
        self.client = ours.client
        self._length = length
        self.client.daemon_drain()
        self.client.enqueue("echo out", id="old", hold=True)

    def run(self, work: Callable[[], object]) -> None:
        """Do what lets jobs run; then none runs, and the queue is as long as before."""
        self.client.daemon_drain(resume=True)
        try:
            work()
        finally:
            self.client.daemon_drain()
        eventually(lambda: self.client.status()["counts"]["processing"] == 0, deadline=60)
        missing = self._length - self.client.status()["counts"]["pending"]
        if missing > 0:
            self.client.enqueue_many([COMMAND] * missing, priority=LOWEST)

    def forget(self, ids: list[str]) -> None:
        """Remove jobs that were enqueued to see how long it takes."""
        for start in range(0, len(ids), PIECE):
            self.client.remove(*ids[start : start + PIECE])


def measure(scale: Scale) -> list[Row]:
    """One row for each kind of work at each length, beside the shortest. The rows are the points of the plot, too."""
    shortest = f"{scale.sizes[0]:,}"
    return [
        Row(f"{what}, {name}", ms(median(rounds[name])), shortest, ms(median(rounds[shortest])),
            ratio(rounds[name], rounds[shortest]), at_most(WORST), *_point(what, name))
        for what, rounds in compare(scale).items()
        for name in rounds
        if name != shortest
    ]  # fmt: skip


def _point(what: str, name: str) -> tuple[str, int]:
    return ("", 0) if name.endswith(MONTHS) else (what, int(name.replace(",", "")))


def compare(scale: Scale) -> Mapping[str, Rounds]:
    """By kind of work: seconds, round by round, at each length, which is given as text."""
    with ExitStack() as stack:
        it = stack.enter_context(bell())
        all_of_them = {f"{size:,}": stack.enter_context(_standing(size, 0)) for size in scale.sizes}
        longest = scale.sizes[-1]
        all_of_them[f"{longest:,}{MONTHS}"] = stack.enter_context(_standing(longest, scale.finished))
        return {
            what: take_turns(
                {name: partial(work, each) for name, each in all_of_them.items()},
                scale.rounds * (OFTEN if what in QUICK else 1),
            )
            for what, work in _kinds(scale, it).items()
        }


@contextmanager
def _standing(waiting: int, finished: int) -> Iterator[Standing]:
    # The daemon must not begin with the backlog: it gets its workers once it was told to claim nothing.
    with arena(prepare=partial(fill, waiting=waiting, finished=finished)) as ours:
        standing = Standing(ours, waiting)
        ours.scale(WORKERS)
        yield standing


def _kinds(scale: Scale, it: Bell) -> Mapping[str, Work]:
    jobs, calls, probes = scale.jobs // 2, scale.calls // 2, max(scale.calls // 10, 1)
    return {
        "one enqueue": lambda at: _enqueue(at, calls),
        f"enqueue_many of {scale.bulk // 10:,}": lambda at: _enqueue_many(at, scale.bulk // 10),
        "from resumed to started": lambda at: _start(at, it, probes),
        f"{jobs:,} short jobs": lambda at: _run(at, jobs),
        "status": lambda at: typical(at.client.status, calls),
        "list, the newest 100": lambda at: typical(lambda: at.client.call("list", limit=100, order="newest"), calls),
        "show a job": lambda at: typical(lambda: at.client.get("old"), calls),
        "cancel a job": lambda at: _cancel(at, probes),
    }


def _enqueue(at: Standing, times: int) -> float:
    ids: list[str] = []
    took = typical(lambda: ids.append(at.client.enqueue("echo out", priority=FIRST).id), times)
    at.forget(ids)
    return took


def _enqueue_many(at: Standing, count: int) -> float:
    ids: list[str] = []
    took = seconds(lambda: ids.extend(at.client.enqueue_many(commands(count), priority=FIRST).ids))
    at.forget(ids)
    return took


def _start(at: Standing, it: Bell, probes: int) -> float:
    """From the moment that the daemon may claim again until the waiting job has begun."""
    waits: list[float] = []

    def probe() -> None:
        job = at.client.enqueue(it.command, priority=FIRST)
        began = perf_counter()
        at.run(lambda: waits.append(it.since(began)))
        at.client.wait(job.id)

    for _ in range(probes):
        probe()
    return median(waits)


def _run(at: Standing, count: int) -> float:
    took: list[float] = []
    at.run(lambda: took.append(seconds(lambda: at.ours.run(commands(count), priority=FIRST))))
    return took[0]


def _cancel(at: Standing, times: int) -> float:
    ids = at.client.enqueue_many(commands(times), priority=FIRST).ids
    left = list(ids)
    took = typical(lambda: at.client.cancel(left.pop()), times)
    at.forget(ids)
    return took
