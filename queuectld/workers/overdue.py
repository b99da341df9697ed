"""The daemon's second look at a run that should have ended: its worker may be stopped, and cannot see to it.

A worker enforces its job's time-out and the kill ladder itself. Only when it is stopped (SIGSTOP, a debugger) does the
daemon end the job's processes in its place. The run is then fenced: whatever the worker says later changes nothing.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from queuectld.workers import tree
from queuectld.workers.process import RunKey, Worker

MARGIN_SECONDS: Final = 2.0
"""How much longer than it needs a worker gets before the daemon looks."""
LOOK_AGAIN_SECONDS: Final = 10.0
"""A worker that lives sees to it; should it be stopped meanwhile, the daemon finds it at its next look."""
STOPPED: Final = "Tt"
"""States of proc(5): stopped by a signal, stopped by a tracer."""

log = logging.getLogger(__name__)

Enforce = Callable[[Worker, RunKey, str], Awaitable[None]]


class Overdue:
    """Looks at runs when they should have ended. `enforce` ends one in its worker's place."""

    def __init__(self, enforce: Enforce) -> None:
        self._enforce = enforce
        self._looks: dict[RunKey, asyncio.TimerHandle] = {}
        self._work: set[asyncio.Task[None]] = set()

    def expect(self, worker: Worker, key: RunKey, within_ms: int, why: str) -> None:
        """The run should have ended within so many milliseconds; an earlier time that is set already stays."""
        loop = asyncio.get_running_loop()
        delay = within_ms / 1000 + MARGIN_SECONDS
        known = self._looks.get(key)
        if known is not None:
            if known.when() <= loop.time() + delay:
                return
            known.cancel()
        self._looks[key] = loop.call_later(delay, self._look, worker, key, why)

    def settled(self, key: RunKey) -> None:
        """The run has ended."""
        look = self._looks.pop(key, None)
        if look is not None:
            look.cancel()

    def close(self) -> None:
        """Look at nothing any more."""
        for look in self._looks.values():
            look.cancel()
        for task in self._work:
            task.cancel()

    def _look(self, worker: Worker, key: RunKey, why: str) -> None:
        del self._looks[key]
        if worker.gone.done() or worker.job != key:
            return
        try:
            process = tree.look(worker.pid)
        except OSError:  # no descriptor is left: that tells nothing of it
            self.expect(worker, key, round(LOOK_AGAIN_SECONDS * 1000), why)
            return
        if process is None or process.start_time != worker.start_time:
            return
        if process.state not in STOPPED:
            self.expect(worker, key, round(LOOK_AGAIN_SECONDS * 1000), why)
            return
        task: asyncio.Task[None] = asyncio.ensure_future(self._end(worker, key, why))
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    async def _end(self, worker: Worker, key: RunKey, why: str) -> None:
        try:
            await self._enforce(worker, key, why)
        except Exception as error:  # whatever kept it from being ended, it is still overdue
            log.error("job %d (run %d) is overdue and not ended yet", key.seq, key.run, exc_info=error)
            self.expect(worker, key, round(LOOK_AGAIN_SECONDS * 1000), why)
