"""Builds and connects the parts of the daemon: store, clock, dispatcher, workers, services.

The client sockets and the life of the process belong to `app`.
"""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from queuectl_client.paths import Paths
from queuectld import __version__, failpoints
from queuectld.domain.errors import Refused
from queuectld.pool.pool import WorkerPool
from queuectld.pool.process import WorkerPaths
from queuectld.pool.recovery import Recovery
from queuectld.pool.supervisor import Supervisor
from queuectld.scheduler.bus import Bus
from queuectld.scheduler.clock import Clock
from queuectld.scheduler.daemon import DaemonService
from queuectld.scheduler.dispatcher import Dispatcher
from queuectld.scheduler.hints import Hints
from queuectld.scheduler.inbox import Inbox
from queuectld.scheduler.jobs.dlq import DlqService, remove_log_files
from queuectld.scheduler.jobs.logs import LogService
from queuectld.scheduler.jobs.service import JobService
from queuectld.scheduler.queues import QueueService
from queuectld.scheduler.retention import Retention
from queuectld.scheduler.service import Service
from queuectld.scheduler.settings import ConfigService
from queuectld.scheduler.shrinking import Shrinker
from queuectld.store.records import StoreFailed
from queuectld.store.store import Store
from queuectld.workerwire import cgroup, runmark

log = logging.getLogger(__name__)

PROTOCOL = 1


class Setup(NamedTuple):
    """Parameters from `app`. `nofile`: the soft descriptor limit of jobs; `exit_soon` ends the daemon."""

    paths: Paths
    nofile: int
    exit_soon: Callable[[], None]
    failed: Callable[[BaseException], None]
    """Called with the error that ended the loop of turns: the daemon cannot continue."""


class Core:
    """The daemon without client sockets.

    Opens the store, builds each part with those it needs, and subscribes them to commits last.
    """

    def __init__(self, setup: Setup) -> None:
        """Open the store and connect the parts. Nothing runs yet. Raises StoreRefused."""
        loop = asyncio.get_running_loop()
        paths = setup.paths
        logs = Path(paths.logs)
        self._failed = setup.failed
        self._started_at = time.time()
        self.store = Store.open(Path(paths.store), host=socket.gethostname(), loop=loop, on_broken=self._broken)
        self.clock = Clock(self.store.time_anchor())
        config = ConfigService(self.store, self.clock)
        bus = Bus(self.store)
        inbox = Inbox()
        worker_paths = WorkerPaths(Path(paths.worker_socket), Path(paths.state), logs, setup.nofile)
        self._pool = WorkerPool(self.store, self.clock, config.value, worker_paths, str(paths.socket), inbox)
        self._supervisor = Supervisor(self.store, self.clock, self._pool)
        self._recovery = Recovery(self.store, self.clock, self._pool, inbox, self._supervisor.reaped)
        self._dispatcher = dispatcher = Dispatcher(self.store, self.clock, config.value, self._pool, inbox)

        def is_draining() -> bool:
            return dispatcher.draining

        remove_files = partial(remove_log_files, logs)
        self._retention = Retention(self.store, self.clock, logs, remove_files)
        self._shrinking = Shrinker(self.store)
        self.service = Service(
            jobs=JobService(self.store, bus, self.clock, config, self._pool.runs, remove_files, is_draining),
            hints=Hints(self.store, self._pool.runs, config.value, is_draining),
            logs=LogService(self.store, bus, self._pool.runs, logs),
            dlq=DlqService(self.store, self.clock, config, remove_files),
            config=config,
            queues=QueueService(self.store, bus, self.clock, inbox.wake),
            workers=self._supervisor,
            bus=bus,
            retention=self._retention,
            daemon=DaemonService(
                partial(self._facts, paths), dispatcher, inbox, self._supervisor, setup.exit_soon
            ),
        )
        self._pool.on_death(self._recovery.reap)
        # The bus first, so that events are published before other parts act on a commit.
        for part in (bus, dispatcher, self._supervisor, self._retention, self._shrinking):
            self.store.subscribe(part.committed)
        self._turns: asyncio.Task[None] | None = None
        self._sweeps: list[asyncio.Task[None]] = []

    def admit_worker(self, client: socket.socket) -> None:
        """Accept a connection to the worker socket."""
        self._pool.admit(client)

    async def start(self, listen: Callable[[], None], *, by_hand: bool) -> None:
        """Take over running jobs, recover lost ones, and start the loop of turns.

        `listen` is called when workers may connect. `by_hand`: a user started this daemon, so that detached workers
        restart even after a stop.
        """
        failpoints.reached("daemon.opened")
        _leave_worker()
        await self._save_anchor()
        await self.store.intake.discard_open_uploads()
        await self._supervisor.restore_pools(by_hand=by_hand)
        await self._recovery.recover()
        self._pool.survivors.watch_new()
        failpoints.reached("daemon.recovered")
        listen()
        await self._supervisor.start_pools()
        self._turns = asyncio.get_running_loop().create_task(self._dispatcher.run(), name="turns")
        self._turns.add_done_callback(self._turns_ended)
        for name, sweep in (("retention", self._retention.run()), ("shrinking", self._shrinking.run())):
            task = asyncio.get_running_loop().create_task(sweep, name=name)
            task.add_done_callback(_log_failure)
            self._sweeps.append(task)

    async def stop(self) -> None:
        """End the loop of turns, leave the workers to the next daemon, close the store."""
        self._supervisor.close()
        for sweep in self._sweeps:
            sweep.cancel()
        await asyncio.gather(*self._sweeps, return_exceptions=True)
        if self._turns is not None:
            self._turns.remove_done_callback(self._turns_ended)
            self._dispatcher.end()
            await asyncio.gather(self._turns, return_exceptions=True)
        await self._pool.close()
        failpoints.reached("daemon.closing")
        await self._save_anchor()
        await self.store.close()

    async def _save_anchor(self) -> None:
        """Store a reading of the clocks. On failure, store time continues from an earlier one."""
        try:
            await self.store.save_anchor(self.clock.anchor())
        except Refused as refused:
            log.warning("cannot save the time anchor: %s", refused.message)

    def _broken(self, error: StoreFailed) -> None:
        """Handle a broken store: pending writes are not acknowledged, as fsync must not be retried."""
        log.critical("%s", error)
        self._failed(error)

    def _turns_ended(self, turns: "asyncio.Task[None]") -> None:
        error = None if turns.cancelled() else turns.exception()
        if error is not None:
            if not isinstance(error, StoreFailed):  # logged by _broken
                log.critical("the daemon cannot go on", exc_info=error)
            self._failed(error)

    def _facts(self, paths: Paths) -> Mapping[str, Any]:
        return {
            "pid": os.getpid(),
            "version": __version__,
            "protocol": PROTOCOL,
            "started_at": self._started_at,
            "uptime_s": time.time() - self._started_at,
            "socket": str(paths.socket),
            "store": str(paths.store),
            "logs": str(paths.logs),
            "state": str(paths.state),
            "workers": self._pool.runs.worker_count(),
            "draining": self._dispatcher.draining,
        }


def _log_failure(task: "asyncio.Task[None]") -> None:
    """A failed retention sweep does not stop the daemon; the next daemon tries again."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("a background sweep failed and will not run again", exc_info=error)


def _leave_worker() -> None:
    """Leave the control group and drop the mark of a worker that started this process; log if groups are available."""
    cgroup.leave_worker_group()
    runmark.clear_own()
    above = cgroup.delegated()
    if above is None:
        log.info("no delegated control group: finding the processes of a job by descent, session, mark and environment")
    else:
        log.info("each worker gets a control group in %s", above)
