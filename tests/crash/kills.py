"""What a soak does to daemon, workers, jobs and clients: kills at random moments, and stops of a while.

A kill may come while its prey is stopped. Whatever was stopped and lives is let go on in the end, and nobody is
signalled but processes that this home's daemon or /proc has just named.
"""

import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from typing import Any, Final

from tests.crash.stage import Stage
from tests.support.eventually import eventually

LONGEST_STOP_S: Final = 0.4
LOOK_S: Final = 1.5
"""So long after it is ready a daemon is looked at for workers that nobody asked for."""
FIRST_GAP_S: Final = 0.3
LEAST_GAP_S: Final = 0.01
LONGEST_GAP_S: Final = 2.0


class Killer:
    """Kills at one home, as often as it is allowed to. `kills` and `stops` count what was done."""

    def __init__(self, stage: Stage, dice: random.Random, without: Collection[str] = frozenset()) -> None:
        self._stage = stage
        self._dice = dice
        self.kills: Counter[str] = Counter()
        self.stops: Counter[str] = Counter()
        self._gap = FIRST_GAP_S
        self._client: subprocess.Popen[str] | None = None
        self._enough = threading.Event()
        self._stopped: set[int] = set()
        acts: dict[Callable[[], None], int] = {
            self._worker: 46,
            self._daemon: 10,
            self._daemon_and_worker: 5,
            self._workers: 4,
            self._all: 3,
            self._client_and_all: 1,
            self._stopped_worker: 5,
            self._stopped_daemon: 2,
            self._daemon_beside_stopped_worker: 2,
            self._stop_worker: 5,
            self._stop_daemon: 2,
            self._stop_job: 6,
        }
        self._acts = {act: weight for act, weight in acts.items() if act.__name__.lstrip("_") not in without}

    def hunt(self, count: int) -> int:
        """Kill so many, sooner or later, until `enough` is called; how many are left. Raises AssertionError."""
        self._enough.clear()
        begun, until = time.monotonic(), self.kills.total() + count
        try:
            # What a kill meets is what is tried here, so time passes on purpose.
            while self.kills.total() < until and not self._enough.wait(self._dice.random() * 2 * self._gap):
                [act] = self._dice.choices(list(self._acts), list(self._acts.values()))
                act()
        finally:
            self._let_all_go_on()
            self._end_client()
        left = max(0, until - self.kills.total())
        busy_s = time.monotonic() - begun
        self._enough.wait(120)  # the jobs that were there all the time are to end
        self._adapt(left, busy_s, time.monotonic() - begun)
        return left

    def enough(self) -> None:
        """The jobs have ended."""
        self._enough.set()

    def _adapt(self, left: int, busy_s: float, all_s: float) -> None:
        """As fast as the jobs go on: not one after the other with nothing in between, nor all at the beginning."""
        if left > 0:
            self._gap *= 0.7
        elif busy_s < 0.7 * all_s:
            self._gap *= 1.25
        self._gap = min(max(self._gap, LEAST_GAP_S), LONGEST_GAP_S)

    # What is killed

    def _worker(self) -> None:
        self._kill("worker", self._some_worker())

    def _daemon(self) -> None:
        self._kill("daemon", [self._stage.restarter.daemon().pid])

    def _daemon_and_worker(self) -> None:
        pids = [*self._some_worker(), self._stage.restarter.daemon().pid]
        self._kill("daemon and worker", pids)

    def _workers(self) -> None:
        if self._all_have_worked():
            self._kill("workers", self._all_workers())

    def _all(self) -> None:
        if not self._all_have_worked():
            return
        pids = self._all_workers()
        # All at one moment: the daemon must not see its workers die first.
        pids.insert(self._dice.randrange(len(pids) + 1), self._stage.restarter.daemon().pid)
        self._kill("all", pids)

    def _stopped_worker(self) -> None:
        pids = self._some_worker()
        self._stop(pids)
        self._kill("stopped worker", pids)

    def _stopped_daemon(self) -> None:
        pids = [self._stage.restarter.daemon().pid]
        self._stop(pids)
        self._kill("stopped daemon", pids)

    def _daemon_beside_stopped_worker(self) -> None:
        pids = self._some_worker()
        self._stop(pids)
        self._daemon()
        self._stage.restarter.daemon()
        self._go_on(pids)

    def _client_and_all(self) -> None:
        """A client with a pool of its own, the daemon and all workers. Nobody takes the pool up, so nobody is hired."""
        client, pool = self._client_with_pool()
        workers = self._stage.workers()
        pids = [worker["pid"] for worker in workers]
        self._kill("client and all", [client.pid, *pids, self._stage.restarter.daemon().pid])
        client.wait(20)
        self._end_client()
        self._stage.restarter.daemon()
        self._enough.wait(LOOK_S)
        told = [one for one in self._stage.workers() if one["pool"]["id"] == pool and one["pid"]]
        hired = [one for one in told if one["pid"] not in pids]
        assert not hired, f"workers were hired for pool {pool}, whose client is dead: {hired}"

    # What is stopped for a while

    def _stop_worker(self) -> None:
        self._stop_for_a_while("worker", self._some_worker())

    def _stop_daemon(self) -> None:
        self._stop_for_a_while("daemon", [self._stage.restarter.daemon().pid])

    def _stop_job(self) -> None:
        self._stop_for_a_while("job", [pid for worker in self._some_worker() for pid in _children(worker)])

    def _stop_for_a_while(self, name: str, pids: list[int]) -> None:
        self._stop(pids)
        self._go_on(pids)
        self.stops[name] += 1

    # How

    def _kill(self, name: str, pids: Iterable[int]) -> None:
        for pid in pids:
            _signal(pid, signal.SIGKILL)
            self._stopped.discard(pid)
        self.kills[name] += 1

    def _stop(self, pids: Iterable[int]) -> None:
        for pid in pids:
            self._stopped.add(pid)
            _signal(pid, signal.SIGSTOP)
        self._enough.wait(self._dice.random() * LONGEST_STOP_S)

    def _go_on(self, pids: Iterable[int]) -> None:
        for pid in list(pids):
            _signal(pid, signal.SIGCONT)
            self._stopped.discard(pid)

    def _let_all_go_on(self) -> None:
        self._go_on(self._stopped)

    def _some_worker(self) -> list[int]:
        """One that has worked, if there is one: a pool whose new workers die waits before it starts more."""
        told = [worker for worker in self._stage.workers() if worker["pid"]]
        pids = [worker["pid"] for worker in told if worker["jobs_done"]] or [worker["pid"] for worker in told]
        return [self._dice.choice(pids)] if pids else []

    def _all_workers(self) -> list[int]:
        return [worker["pid"] for worker in self._stage.workers() if worker["pid"]]

    def _all_have_worked(self) -> bool:
        return all(worker["jobs_done"] for worker in self._stage.workers())

    def _client_with_pool(self) -> tuple[subprocess.Popen[str], int]:
        known = {worker["pool"]["id"] for worker in self._stage.workers()}
        words = ("worker", "start", "--count", "1", "--no-autostart")
        client = self._client = self._stage.home.popen(*words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def pools() -> list[dict[str, Any]]:
            assert client.poll() is None, "the client of a foreground pool ended"
            told = [one for one in self._stage.workers() if one["pool"]["kind"] == "foreground" and one["pid"]]
            return [one for one in told if one["pool"]["id"] not in known]

        return client, eventually(pools, deadline=60, message="a worker for a client")[0]["pool"]["id"]

    def _end_client(self) -> None:
        if self._client is not None:
            self._client.kill()
            self._client.wait(20)
            self._client = None


def _signal(pid: int, number: int) -> None:
    # Those of the list just told; who died since is not yet reaped by its daemon or is gone. One that became root
    # may be stopped by nobody else.
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _children(pid: int) -> list[int]:
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as listed:
            return [int(child) for child in listed.read().split()]
    except OSError:
        return []
