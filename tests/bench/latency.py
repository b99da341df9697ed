"""How soon a job starts once its enqueue was acknowledged, while nothing else runs and under load.

The job is a shell that writes a line into a pipe. The moment that counts is when the line arrives, so the shell's own
start is in the number; what the same shell takes when it is simply spawned stands beside it.
"""

import os
import select
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from tests.bench.arena import WORKERS, Arena, arena
from tests.bench.report import Row, at_most, ms
from tests.bench.rounds import Rounds, Scale, percentile, take_turns

IDLE, LOADED, SPAWN = "idle", "under load", "spawn"
BACKLOG = 20
"""Jobs for each probe that wait behind it, so that all workers are always busy."""
LOAD = "load"
DEADLINE_S = 60


class Bell:
    """A pipe with a name, and a command that rings it."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        # Open for writing, too: the pipe then has no end between two jobs.
        self._descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self.command = f"echo >{path}"

    def since(self, moment: float) -> float:
        """Wait for the ring; the seconds from `moment` (perf_counter) to it, 0 when it was rung before."""
        readable, _, _ = select.select([self._descriptor], [], [], DEADLINE_S)
        rung = time.perf_counter()
        if not readable:
            raise TimeoutError(f"the job has not started within {DEADLINE_S} s")
        os.read(self._descriptor, 4096)
        return rung - moment

    def close(self) -> None:
        """No more rings."""
        os.close(self._descriptor)


@contextmanager
def bell() -> Iterator[Bell]:
    """A bell for a while."""
    with tempfile.TemporaryDirectory(prefix="qb", dir="/tmp") as folder:
        it = Bell(Path(folder, "bell"))
        try:
            yield it
        finally:
            it.close()


def measure(scale: Scale) -> list[Row]:
    """Medians and the slowest of a hundred."""
    each: Rounds = {IDLE: [], LOADED: [], SPAWN: []}

    def sample(name: str, once: Callable[[], float]) -> float:
        waits = [once() for _ in range(scale.calls)]
        each[name] += waits
        return median(waits)

    with arena(WORKERS) as ours, bell() as it:
        contestants = {
            IDLE: lambda: sample(IDLE, lambda: _start(ours, it)),
            LOADED: lambda: _under_load(ours, scale.calls, lambda: sample(LOADED, lambda: _start(ours, it))),
            SPAWN: lambda: sample(SPAWN, lambda: spawn(it)),
        }
        found = take_turns(contestants, scale.rounds)
    alone = median(found[SPAWN])
    return [
        row
        for name in (IDLE, LOADED)
        for row in (
            Row(f"acknowledged to started, {name}", ms(median(found[name])), "its shell alone", ms(alone), None),
            Row("  in milliseconds", "", "", "", median(found[name]) * 1000, at_most(5) if name == IDLE else None),
            Row("  99 of 100 within", ms(_slow(each[name])), "", ms(_slow(each[SPAWN])), None),
        )
    ]


def _slow(waits: Sequence[float]) -> float:
    return percentile(waits, 0.99)


def spawn(it: Bell) -> float:
    """What the job's shell takes by itself."""
    began = time.perf_counter()
    pid = os.posix_spawn("/bin/sh", ["/bin/sh", "-c", it.command], os.environ)
    took = it.since(began)
    os.waitpid(pid, 0)
    return took


def _start(ours: Arena, it: Bell) -> float:
    job = ours.client.enqueue(it.command, priority=1)
    took = it.since(time.perf_counter())
    ours.client.wait(job.id)
    return took


def _under_load(ours: Arena, probes: int, work: Callable[[], float]) -> float:
    """Do the work while a backlog of short jobs keeps every worker busy; what is left of it stays, paused."""
    ours.client.enqueue_many(["echo out"] * (probes * BACKLOG), queue=LOAD)
    ours.client.queue_resume(LOAD)
    try:
        return work()
    finally:
        ours.client.queue_pause(LOAD)
