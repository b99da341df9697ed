"""The life of the daemon: open the store, build the parts, serve, and shut down after answering pending calls.

Called with the lock held and the socket bound.
"""

import asyncio
import gc
import logging
import os
import resource
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from queuectl_client.paths import Paths
from queuectld import failpoints, ownlimits
from queuectld.config import FileSettings
from queuectld.core import Core, Setup
from queuectld.domain.errors import Refused
from queuectld.eventloop import EventLoop
from queuectld.lock import DaemonLock
from queuectld.notify import Notifier, ReadyLine
from queuectld.server.connections import Connections
from queuectld.server.listener import Listener
from queuectld.server.socketfile import BoundSocket, SocketRefused, bind, open_private_folder, unlink
from queuectld.store.records import StoreRefused

log = logging.getLogger(__name__)

ANSWERS_S: Final = 2.5
"""How long a daemon that shuts down waits for clients to read their answers; it exits within 5 s in total."""

MOST_DESCRIPTORS: Final = 65_536
"""Enough for 1,000 clients and as many workers; some systems allow 10**9."""

KEPT_DESCRIPTORS: Final = 200
LEAST_CLIENTS: Final = 16

GC_THRESHOLD: Final = 10_000
"""Allocations before the garbage collector runs (default: 700)."""


class Start(NamedTuple):
    """Parameters from `cli`. `paths.socket` is the path of the socket."""

    paths: Paths
    settings: FileSettings
    lock: DaemonLock
    sockets: Sequence[BoundSocket]
    notifier: Notifier
    ready_line: ReadyLine
    by_hand: bool
    """A user started it, so detached workers restart even after a stop."""


def run(start: Start) -> int:
    """Serve until SIGTERM, SIGINT or a client ends the daemon. Returns 0, or 1 if it could not start or continue."""
    try:
        with asyncio.Runner(loop_factory=EventLoop) as runner:
            return runner.run(_Daemon(start).live())
    except (StoreRefused, SocketRefused, Refused) as refused:
        start.ready_line.error(str(refused))
        log.error("%s", refused)
        return 1
    finally:
        for bound in start.sockets:
            unlink(bound)
        start.lock.release()


class _Daemon:
    """The running daemon."""

    def __init__(self, start: Start) -> None:
        self._start = start
        self._end = asyncio.Event()
        self._is_broken = False

    async def live(self) -> int:
        """Serve until told to end."""
        start = self._start
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_log_unhandled)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self._end.set)
        os.close(open_private_folder(Path(start.paths.logs)))  # missing if the daemon does not log to a file
        worker_socket = bind(Path(start.paths.worker_socket))
        lock = Path(start.paths.lock)
        core = Core(Setup(start.paths, raise_descriptor_limit(), self._end.set, self._break))
        workers = Listener(loop, [worker_socket], core.admit_worker)
        try:
            await core.start(lambda: workers.serve(lock), by_hand=start.by_hand)
            connections = Connections(core.service, client_limit(start.settings.max_connections))
            listener = Listener(loop, start.sockets, connections.admit)
            listener.serve(lock)
            _configure_garbage_collection()
            failpoints.reached("daemon.serving")
            self._report_ready(loop)
            await self._end.wait()
            log.info("ending")
            start.notifier.stopping()
            listener.close()
            await connections.close_all(ANSWERS_S)
            failpoints.reached("daemon.answered")
        finally:
            workers.close()
            await core.stop()
        start.notifier.close()
        log.info("ended")
        return 1 if self._is_broken else 0

    def _report_ready(self, loop: asyncio.AbstractEventLoop) -> None:
        start = self._start
        start.lock.announce(Path(start.paths.socket), start.paths.store)
        start.ready_line.ready()
        start.notifier.ready(loop, f"Serving at {start.paths.socket}")
        if bound := list(ownlimits.binding(0)):
            log.warning("the daemon and all jobs have limits that cannot be raised: %s", "; ".join(bound))
        log.info("serving at %s, store %s", start.paths.socket, start.paths.store)

    def _break(self, _error: BaseException) -> None:
        self._is_broken = True
        self._end.set()


def _configure_garbage_collection() -> None:
    """Collect rarely: current objects are permanent, and jobs create few cycles."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)


def raise_descriptor_limit() -> int:
    """Raise the soft limit of open files to what the daemon may need. Returns the old one, which jobs get."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return soft


def client_limit(wanted: int) -> int:
    """Return the client limit that leaves descriptors for the store and workers (two each)."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    room = wanted if soft == resource.RLIM_INFINITY else max(LEAST_CLIENTS, soft - KEPT_DESCRIPTORS)
    if room < wanted:
        log.warning("serving at most %d clients at a time: the limit of open files is %d", room, soft)
    return min(room, wanted)


def _log_unhandled(_loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
    """Log exceptions of callbacks, without asyncio's own message: it shows arguments, and so data of jobs."""
    log.error("unhandled error: %s", context.get("message"), exc_info=context.get("exception"))
