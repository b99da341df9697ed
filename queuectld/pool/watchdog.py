"""The daemon's second look at a worker that should have done something by now: it may be stopped, or hang.

A worker sees to its job's time-out and to the kill ladder itself. One that is stopped (SIGSTOP, a debugger) cannot: it
gets CONT, and where that does not help KILL. What a killed worker leaves is settled as ever (`recovery`); the run that
should have ended is not taken for a crash then, see `Worker.unfinished_run`.
"""

import asyncio
import logging
import signal
from collections import deque
from collections.abc import Callable, Hashable
from typing import Final

from queuectld.pool.process import RunKey, Worker, watch_exit
from queuectld.workerwire import procfs

MARGIN_SECONDS: Final = 2.0
"""How much longer than it needs a worker gets before the daemon looks."""
ANSWER_SECONDS: Final = 5.0
"""After CONT: how soon it must have done what it should."""
RECHECK_SECONDS: Final = 10.0
"""A worker that lives sees to it; should it be stopped meanwhile, the daemon finds it at its next look."""
HELLO_SECONDS: Final = 30.0
"""How long a new worker may take to connect, unless it is still busy with its start."""
STOPPED: Final = "Tt"
"""States of proc(5): stopped by a signal, stopped by a tracer."""
END_REQUESTED: Final = ("cancelled", "shutdown")
"""A worker that was told so has no reason to take longer, stopped or not; a time-out may stand still in a pause."""

log = logging.getLogger(__name__)


class _Expectation:
    """Something that a worker should have done. `may_wait`: whether one that is not stopped may take its time."""

    def __init__(
        self,
        worker: Worker,
        is_done: Callable[[], bool],
        may_wait: Callable[[procfs.Process], bool],
        run: tuple[RunKey, str] | None = None,
    ) -> None:
        self.worker = worker
        self.is_done = is_done
        self.may_wait = may_wait
        self.run = run
        """The run that should have ended, and why."""
        self.was_continued = False


class Watchdog:
    """Looks at workers when something is due. The run of a worker that is killed here is noted on it."""

    def __init__(self) -> None:
        self._checks: dict[Hashable, asyncio.TimerHandle] = {}
        self._leader_watches: dict[RunKey, Callable[[], None]] = {}
        self._claims: deque[tuple[float, Worker, RunKey]] = deque()
        self._claims_check: asyncio.TimerHandle | None = None

    # --- what is due ---

    def expect_run_end(self, worker: Worker, key: RunKey, within_ms: int, why: str) -> None:
        """The run should have ended within so many milliseconds; an earlier time that is set already stays."""
        told = why in END_REQUESTED
        due = _Expectation(worker, lambda: worker.job != key, lambda _: not told, (key, why))
        self._expect((key, told), within_ms / 1000 + MARGIN_SECONDS, due)

    def expect_run_start(self, worker: Worker, key: RunKey) -> None:
        """The worker was sent a job: it will tell that this runs, or has ended."""
        loop = asyncio.get_running_loop()
        self._claims.append((loop.time() + ANSWER_SECONDS, worker, key))
        if self._claims_check is None:  # one timer for all of them: jobs are claimed by the thousand
            self._claims_check = loop.call_later(ANSWER_SECONDS, self._check_claims)

    def leader(self, worker: Worker, key: RunKey, pid: int, started: int) -> None:
        """The run's leader is known: when it has ended its worker will tell soon."""

        def ended() -> None:
            self._leader_watches.pop(key, None)
            self.expect_run_end(worker, key, 0, "ended")

        try:
            stop = watch_exit(pid, started, ended)
        except OSError:
            return  # no descriptor is left; nothing depends on it as long as the worker goes on
        if stop is None:
            ended()
        else:
            self._leader_watches[key] = stop

    def hello(self, worker: Worker, *, is_new: bool) -> None:
        """The worker will connect. One that is not new may have to wait for more than itself."""
        loop = asyncio.get_running_loop()
        until = loop.time() + HELLO_SECONDS

        def may_wait(process: procfs.Process) -> bool:
            return not is_new or process.state == "R" or loop.time() < until

        self._expect(("hello", worker.id), ANSWER_SECONDS, _Expectation(worker, lambda: worker.has_connected, may_wait))

    def expect_worker_end(self, worker: Worker) -> None:
        """The worker has nothing to do any more and was told to end."""
        self._expect(("end", worker.id), MARGIN_SECONDS, _Expectation(worker, lambda: False, lambda _: True))

    def settled(self, key: RunKey) -> None:
        """The run has ended."""
        for told in (False, True):
            look = self._checks.pop((key, told), None)
            if look is not None:
                look.cancel()
        stop = self._leader_watches.pop(key, None)
        if stop is not None:
            stop()

    def close(self) -> None:
        """Look at nothing any more."""
        for look in (*self._checks.values(), self._claims_check):
            if look is not None:
                look.cancel()
        for stop in self._leader_watches.values():
            stop()
        self._leader_watches.clear()

    # --- the looks ---

    def continue_if_stopped(self, worker: Worker) -> None:
        """CONT, where it is stopped: it is about to be told something that it is not to sleep through."""
        try:
            process = procfs.look(worker.pid)
        except OSError:
            return  # no descriptor is left; a look will come
        if process is not None and process.started_at(worker.start_time) and process.state in STOPPED:
            self._continue(worker)

    def _expect(self, name: Hashable, seconds: float, due: _Expectation) -> None:
        loop = asyncio.get_running_loop()
        known = self._checks.get(name)
        if known is not None:
            if known.when() <= loop.time() + seconds:
                return
            known.cancel()
        self._checks[name] = loop.call_later(seconds, self._check, name, due)

    def _check_claims(self) -> None:
        loop = asyncio.get_running_loop()
        self._claims_check = None
        while self._claims:
            at, worker, key = self._claims[0]
            if at > loop.time() and worker.job == key and not worker.has_begun:
                self._claims_check = loop.call_at(at, self._check_claims)
                return
            self._claims.popleft()
            if worker.job == key and not worker.has_begun:
                self._check(("claim", key), _begin(worker, key))

    def _check(self, name: Hashable, due: _Expectation) -> None:
        self._checks.pop(name, None)
        worker = due.worker
        if worker.gone.done() or due.is_done():
            return
        try:
            process = procfs.look(worker.pid)
        except OSError:  # no descriptor is left: that tells nothing of it
            self._expect(name, RECHECK_SECONDS, due)
            return
        if process is None or not process.started_at(worker.start_time) or not process.is_alive:
            return  # its end is seen to elsewhere
        if process.state not in STOPPED and due.may_wait(process):
            due.was_continued = False
            self._expect(name, RECHECK_SECONDS, due)
        elif not due.was_continued:
            due.was_continued = True
            self._continue(worker)
            self._expect(name, ANSWER_SECONDS, due)
        else:
            self._end(worker, due)

    def _continue(self, worker: Worker) -> None:
        log.warning("worker %s does not answer, or is stopped; it is told to go on", worker.name)
        procfs.send_signal(worker.pid, worker.start_time, signal.SIGCONT)

    def _end(self, worker: Worker, due: _Expectation) -> None:
        log.warning("worker %s (pid %d) still does not answer; it is killed", worker.name, worker.pid)
        if due.run is not None:
            worker.unfinished_run = due.run
        procfs.send_signal(worker.pid, worker.start_time, signal.SIGKILL)


def _begin(worker: Worker, key: RunKey) -> _Expectation:
    return _Expectation(worker, lambda: worker.job != key or worker.has_begun, lambda _: True)
