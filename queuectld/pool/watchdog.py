"""The watchdog: checks workers that miss a deadline, since they may be stopped or hang.

A worker enforces its job's timeout and kill ladder itself. A stopped one (SIGSTOP, a debugger) cannot: it gets CONT,
and KILL if that does not help. `recovery` settles the run of a killed worker; a run that should have ended does not
count as a crash then, see `Worker.unfinished_run`.
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
"""Tolerance before a missed deadline is checked."""
ANSWER_SECONDS: Final = 5.0
"""How soon it must react after CONT."""
RECHECK_SECONDS: Final = 10.0
"""Interval between checks of a worker that is running; it may be stopped later."""
HELLO_SECONDS: Final = 30.0
"""How long a new worker may take to connect, unless it is still using CPU time."""
STOPPED: Final = "Tt"
"""States of proc(5): stopped by a signal, stopped by a tracer."""
END_REQUESTED: Final = ("cancelled", "shutdown")
"""Reasons after which a worker must end the run in time, stopped or not; a timeout may be suspended by a pause."""

log = logging.getLogger(__name__)


class _Expectation:
    """Something that a worker must do. `may_wait`: whether a worker that is not stopped may take longer."""

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
        """The run that must end, and why."""
        self.was_continued = False


class Watchdog:
    """Checks workers at deadlines. When it kills a worker, it records the unfinished run on it."""

    def __init__(self) -> None:
        self._checks: dict[Hashable, asyncio.TimerHandle] = {}
        self._leader_watches: dict[RunKey, Callable[[], None]] = {}
        self._claims: deque[tuple[float, Worker, RunKey]] = deque()
        self._claims_check: asyncio.TimerHandle | None = None

    # --- expectations ---

    def expect_run_end(self, worker: Worker, key: RunKey, within_ms: int, why: str) -> None:
        """The run must end within `within_ms`; an earlier deadline stays in force."""
        told = why in END_REQUESTED
        due = _Expectation(worker, lambda: worker.job != key, lambda _: not told, (key, why))
        self._expect((key, told), within_ms / 1000 + MARGIN_SECONDS, due)

    def expect_run_start(self, worker: Worker, key: RunKey) -> None:
        """The worker was sent a job: it must report that this runs or has ended."""
        loop = asyncio.get_running_loop()
        self._claims.append((loop.time() + ANSWER_SECONDS, worker, key))
        if self._claims_check is None:  # one timer for all of them: jobs are claimed by the thousand
            self._claims_check = loop.call_later(ANSWER_SECONDS, self._check_claims)

    def leader(self, worker: Worker, key: RunKey, pid: int, started: int) -> None:
        """The leader of a run is known: after its end, the worker must report soon."""

        def ended() -> None:
            self._leader_watches.pop(key, None)
            self.expect_run_end(worker, key, 0, "ended")

        try:
            stop = watch_exit(pid, started, ended)
        except OSError:
            return  # no free descriptor; only needed if the worker stops
        if stop is None:
            ended()
        else:
            self._leader_watches[key] = stop

    def hello(self, worker: Worker, *, is_new: bool) -> None:
        """The worker must connect. One that is not new may have to wait for other things."""
        loop = asyncio.get_running_loop()
        until = loop.time() + HELLO_SECONDS

        def may_wait(process: procfs.Process) -> bool:
            return not is_new or process.state == "R" or loop.time() < until

        self._expect(("hello", worker.id), ANSWER_SECONDS, _Expectation(worker, lambda: worker.has_connected, may_wait))

    def expect_worker_end(self, worker: Worker) -> None:
        """The worker is idle and was told to end: it must exit."""
        self._expect(("end", worker.id), MARGIN_SECONDS, _Expectation(worker, lambda: False, lambda _: True))

    def settled(self, key: RunKey) -> None:
        """Drop the expectations for a run that has ended."""
        for told in (False, True):
            look = self._checks.pop((key, told), None)
            if look is not None:
                look.cancel()
        stop = self._leader_watches.pop(key, None)
        if stop is not None:
            stop()

    def close(self) -> None:
        """Cancel all checks."""
        for look in (*self._checks.values(), self._claims_check):
            if look is not None:
                look.cancel()
        for stop in self._leader_watches.values():
            stop()
        self._leader_watches.clear()

    # --- checks ---

    def continue_if_stopped(self, worker: Worker) -> None:
        """Send CONT to a stopped worker, so that it handles the next frame."""
        try:
            process = procfs.look(worker.pid)
        except OSError:
            return  # no free descriptor; a check follows
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
        except OSError:  # no free descriptor: check again
            self._expect(name, RECHECK_SECONDS, due)
            return
        if process is None or not process.started_at(worker.start_time) or not process.is_alive:
            return  # its end is handled elsewhere
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
        log.warning("worker %s is stopped or does not answer; sending CONT", worker.name)
        procfs.send_signal(worker.pid, worker.start_time, signal.SIGCONT)

    def _end(self, worker: Worker, due: _Expectation) -> None:
        log.warning("worker %s (pid %d) still does not answer; killing it", worker.name, worker.pid)
        if due.run is not None:
            worker.unfinished_run = due.run
        procfs.send_signal(worker.pid, worker.start_time, signal.SIGKILL)


def _begin(worker: Worker, key: RunKey) -> _Expectation:
    return _Expectation(worker, lambda: worker.job != key or worker.has_begun, lambda _: True)
