"""A queuectl of its own to measure: a home, a daemon, a client, workers, and what /proc says of them.

It gives numbers; what they are compared with is the measurements' business.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from queuectl_client import Client
from tests.support.daemon import Home, terminate

TICKS = os.sysconf("SC_CLK_TCK")
WORKERS = 4


class Arena:
    """A daemon that runs, and a client of it."""

    def __init__(self, home: Home, workers: int) -> None:
        self.home = home
        self._wanted = workers
        self.up()

    def up(self) -> None:
        """Start the daemon, and as many workers as there are to be."""
        self.daemon = self.home.start_daemon()
        self.client = self.new_client()
        if self._wanted:
            self.scale(self._wanted)

    def down(self) -> None:
        """Let the daemon end as a service manager would."""
        self.client.close()
        terminate(self.daemon)

    def new_client(self) -> Client:
        """Another client of the same daemon."""
        return Client(autostart=False, environ=self.home.env, timeout=120)

    def scale(self, count: int) -> None:
        """Have so many workers, all of them up."""
        self.client.worker_scale(count)
        self._wanted = count

    def run(self, commands: Sequence[str], **keys: Any) -> None:
        """Have all of these run, from before they are enqueued until the last outcome is stored."""
        added = self.client.enqueue_many(commands, **keys)
        self.client.wait(*added.ids[-2 * max(self._wanted, 1) :])

    @property
    def pid(self) -> int:
        """The daemon's."""
        return self.daemon.pid

    def worker_pids(self) -> list[int]:
        """The workers'."""
        return [worker["pid"] for worker in self.client.workers()]

    def cpu_seconds(self) -> float:
        """Processor time of the daemon, the workers, and the jobs that they have reaped."""
        return sum(cpu_seconds(pid) for pid in (self.pid, *self.worker_pids()))


@contextmanager
def arena(workers: int = 0, prepare: Callable[[Path], object] | None = None) -> Iterator[Arena]:
    """An arena for a while. `prepare` fills the store's path before the daemon starts; all is deleted afterwards."""
    home = Home()
    try:
        if prepare is not None:
            prepare(home.store)
        yield Arena(home, workers)
    finally:
        home.stop()
        home.remove()


def cpu_seconds(pid: int) -> float:
    """Processor time that a process and the children it has waited for have used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / TICKS


def pss_bytes(pid: int) -> int:
    """Memory of a process, pages shared with others counted by its share of them (proc(5), smaps_rollup)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"/proc/{pid}/smaps_rollup has no line Pss")


def rss_bytes(pid: int) -> int:
    """Memory of a process that is in memory, shared pages included (proc(5), status)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"/proc/{pid}/status has no line VmRSS")


def wake_ups(pid: int) -> int:
    """How often the process's threads went to sleep so far, which is how often they woke."""
    return sum(_voluntary(task) for task in Path(f"/proc/{pid}/task").iterdir())


def _voluntary(task: Path) -> int:
    for line in (task / "status").read_text().splitlines():
        if line.startswith("voluntary_ctxt_switches:"):
            return int(line.split()[1])
    raise ValueError(f"{task}/status has no voluntary_ctxt_switches")
