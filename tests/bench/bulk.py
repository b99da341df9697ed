"""100,000 jobs from a pipe into `queuectl enqueue -f -`, and how long another client waits meanwhile.

The other client asks for the status and enqueues a job of its own, in turn, as fast as it is answered. Its longest
wait is the number: nobody may be locked out by somebody else's bulk.
"""

import subprocess
from statistics import median
from threading import Event, Thread

from tests.bench.arena import Arena, arena
from tests.bench.report import Row, at_least, at_most, ms, per_second
from tests.bench.rounds import Scale, percentile, seconds
from tests.support.daemon import QUEUECTL

GAP_S = 0.002


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
    """The rate, and the neighbour's waits. A fresh store for each round."""
    rates, reads, writes = [], [], []
    for _ in range(scale.rounds):
        with arena() as ours, Neighbour(ours) as neighbour:
            rates.append(scale.bulk / seconds(lambda: pour(ours, scale.bulk)))
        reads.append(neighbour.reads)
        writes.append(neighbour.writes)
    return [
        Row(f"{scale.bulk:,} jobs, enqueue -f -", per_second(median(rates)), "budget, jobs/s", "", median(rates),
            at_least(30_000)),
        _waits("status", reads),
        _waits("one enqueue", writes),
    ]  # fmt: skip


def pour(ours: Arena, count: int) -> None:
    """The whole command, from its start to its end."""
    lines = "".join(f"echo out {number}\n" for number in range(count))
    command = [QUEUECTL, "enqueue", "-q", "-f", "-"]
    subprocess.run(command, input=lines, env=ours.home.env, stdout=subprocess.DEVNULL, text=True, check=True)


def _waits(what: str, rounds: list[list[float]]) -> Row:
    longest = median(max(waits) for waits in rounds)
    typical = median(wait for waits in rounds for wait in waits)
    last = median(percentile(waits, 0.99) for waits in rounds)
    words = f"{ms(typical)} typical, {ms(last)} p99, {ms(longest)} longest"
    return Row(f"meanwhile, {what} of another client", words, "longest, ms", "", longest * 1000, at_most(100))
