"""100,000 jobs from a pipe into `queuectl enqueue -f -`, and how long another client waits meanwhile.

The other client asks for the status and enqueues a job of its own, in turn, as fast as it is answered. Its longest
wait is the number: nobody may be locked out by somebody else's bulk. It goes on until the jobs are all admitted, and
is measured beside plain jobs, jobs with a concurrency key, and jobs that each wait for the one before; the memory of
the daemon is that before, right after the last round, and once it has given back what it could.
"""

import json
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from statistics import median
from threading import Event, Thread

from tests.bench.arena import Arena, arena, rss_bytes
from tests.bench.report import Row, at_least, at_most, ms, per_second
from tests.bench.rounds import Scale, percentile, seconds
from tests.support.daemon import QUEUECTL

GAP_S = 0.002
GIVEN_BACK_S = 8
"""By then an idle daemon has given back memory."""
MIB = 1024 * 1024
Kind = Callable[[int], str]
"""Makes the line of the job with this number."""


def plain(number: int) -> str:
    """A command alone."""
    return f"echo out {number}"


def keyed(number: int) -> str:
    """One of 1,000 concurrency keys."""
    return json.dumps({"command": f"echo out {number}", "key": f"key {number % 1_000}"})


def chained(number: int) -> str:
    """It waits for the job before."""
    parents = {"depends_on": [f"chained-{number - 1}"]} if number else {}
    return json.dumps({"id": f"chained-{number}", "command": f"echo out {number}", **parents})


KINDS: dict[str, Kind] = {"": plain, " with a key": keyed, " with a parent": chained}


class Neighbour:
    """Another client, on a thread of its own, that notes how long each answer takes. A context manager."""

    def __init__(self, ours: Arena) -> None:
        self._client = ours.new_client()
        self._over = Event()
        self._thread = Thread(target=self._ask)
        self.reads: list[float] = []
        self.writes: list[float] = []

    def __enter__(self) -> "Neighbour":
        self._client.connect()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._client.close()

    def _ask(self) -> None:
        while not self._over.wait(GAP_S):
            self.reads.append(seconds(self._client.status))
            self.writes.append(seconds(lambda: self._client.enqueue("echo out")))


def measure(scale: Scale) -> list[Row]:
    """The rates, and the neighbour's waits. A fresh store for each round; the kinds take turns."""
    found = {name: _Found() for name in KINDS}
    for _ in range(scale.rounds):
        for name, kind in KINDS.items():
            _measure_once(found[name], kind, scale.bulk)
    return [row for name, each in found.items() for row in each.rows(f"{scale.bulk:,} jobs{name}", name == "")]


class _Found:
    """What the rounds have found of one kind."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.reads: list[list[float]] = []
        self.writes: list[list[float]] = []
        self.later: list[list[float]] = []
        self.memory: list[tuple[float, float, float]] = []

    def rows(self, what: str, is_plain: bool) -> list[Row]:
        """Their medians."""
        rate = median(self.rates)
        before, after, idle = (median(each) / MIB for each in zip(*self.memory, strict=True))
        return [
            Row(f"{what}, enqueue -f -", per_second(rate), "budget, jobs/s" if is_plain else "", "", rate,
                at_least(30_000) if is_plain else None),
            _waits("meanwhile, status of another client", self.reads),
            _waits("meanwhile, one enqueue of another client", self.writes),
            _waits("while they are admitted, one enqueue", self.later),
            Row("memory (RSS) of the daemon, idle again", f"{idle:.1f} MiB, {after:.1f} right after", "before",
                f"{before:.1f} MiB", idle / before),
        ]  # fmt: skip


def _measure_once(found: _Found, kind: Kind, count: int) -> None:
    with arena() as ours:
        before = rss_bytes(ours.pid)
        with Neighbour(ours) as neighbour:
            found.rates.append(count / seconds(lambda: pour(ours, count, kind)))
            stored = len(neighbour.writes)
            while not _are_admitted(ours):
                time.sleep(0.05)
        after = rss_bytes(ours.pid)
        time.sleep(GIVEN_BACK_S)
        found.memory.append((before, after, rss_bytes(ours.pid)))
    found.reads.append(neighbour.reads[:stored])
    found.writes.append(neighbour.writes[:stored])
    # Of few jobs there may be none left to admit.
    found.later.append(neighbour.writes[stored:] or neighbour.writes[-1:])


def _are_admitted(ours: Arena) -> bool:
    with closing(sqlite3.connect(f"{ours.home.store.as_uri()}?mode=ro", uri=True)) as store:
        return not store.execute("SELECT count(*) FROM batch").fetchone()[0]


def pour(ours: Arena, count: int, kind: Kind = plain) -> None:
    """The whole command, from its start to its end."""
    lines = "".join(f"{kind(number)}\n" for number in range(count))
    command = [QUEUECTL, "enqueue", "-q", "-f", "-"]
    subprocess.run(command, input=lines, env=ours.home.env, stdout=subprocess.DEVNULL, text=True, check=True)


def _waits(what: str, rounds: list[list[float]]) -> Row:
    longest = median(max(waits) for waits in rounds)
    typical = median(wait for waits in rounds for wait in waits)
    last = median(percentile(waits, 0.99) for waits in rounds)
    words = f"{ms(typical)} typical, {ms(last)} p99, {ms(longest)} longest"
    return Row(what, words, "longest, ms", "", longest * 1000, at_most(100))
