"""One worker process as seen by the daemon: how to start it, and its state."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from queuectl_client.protocol.vocabulary import WorkerState
from queuectld.pool.link import WorkerLink
from queuectld.workerwire import procfs
from queuectld.workerwire.frames import RecentEnvironments

PRIVATE_VARIABLES: Final = (
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "QUEUECTL_JOB_ID",
    "QUEUECTL_RUN",
)
"""Not passed to workers: meant for the daemon (systemd), or set by a job that started the daemon."""
DEFAULT_SIGNALS: Final = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
"""Reset in workers, as the daemon may have inherited ignored signals (`trap '' CHLD`)."""


class WorkerPaths(NamedTuple):
    """The daemon's socket and the folders of a worker; `nofile` is the soft descriptor limit of jobs."""

    socket: Path
    state: Path
    logs: Path
    nofile: int


class RunKey(NamedTuple):
    """One execution of one job."""

    seq: int
    run: int


class Worker:
    """A worker process. `link` is its connection, None while disconnected."""

    def __init__(self, worker_id: int, pool_id: int, number: int, since_ms: int) -> None:
        self.id = worker_id
        self.pool_id = pool_id
        self.number = number
        self.since_ms = since_ms
        self.pid = 0
        self.start_time = 0
        self.link: WorkerLink | None = None
        self.environments = RecentEnvironments()
        self.job: RunKey | None = None
        self.job_id: str | None = None
        self.jobs_done = 0
        self.draining = False
        self.takes_input = False
        """Whether it knows the frame `send`; one of an older version does not."""
        self.is_refused = False
        """Whether it was refused, and logged, for its protocol version."""
        self.is_stopped = False
        """Whether its job was paused when it said hello."""
        self.has_connected = False
        """Whether it has connected to this daemon, even if it was refused."""
        self.has_begun = False
        """Whether it has confirmed that it runs `job`."""
        self.has_ended = False
        """Whether its process has ended and its run is being recovered."""
        self.unfinished_run: tuple[RunKey, str] | None = None
        """The run that did not end, for which the worker was killed, and why it should have ended."""

        self.is_cooling_down = False
        """Whether it gets no jobs for a while, since it lacked a resource to start one."""
        self.failed_starts = 0
        """How often that happened in a row."""
        self.pending_signals: list[Mapping[str, Any]] = []
        """Signals for its job, to be sent when it is connected again."""
        self.last_kill: Mapping[str, Any] | None = None
        """The last `kill` frame for its run, sent again after a reconnect in case it was lost."""
        loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = loop.create_future()
        """Done at the first hello; fails if the process ends before."""
        self.gone: asyncio.Future[None] = loop.create_future()
        """Done when the process has ended and its run is recovered."""

    @property
    def name(self) -> str:
        """The name shown to users and jobs."""
        return f"w{self.id}"

    @property
    def state(self) -> WorkerState:
        """Its current state."""
        if not self.ready.done():
            return WorkerState.STARTING
        if self.link is None:
            return WorkerState.LOST
        if self.draining:
            return WorkerState.DRAINING
        return WorkerState.IDLE if self.job is None else WorkerState.BUSY

    @property
    def describe_leftover(self) -> str:
        """Describe what is left of it after waiting for its end timed out."""
        if not procfs.is_alive(self.pid, self.start_time):
            return f"worker {self.name} (pid {self.pid}) has ended, and the store could not be told"
        job = f", which runs job {self.job_id or self.job.seq}" if self.job is not None else ""
        return f"worker {self.name} (pid {self.pid}){job}"

    def tell(self, kind: str, body: Mapping[str, Any]) -> None:
        """Send a frame about its run, now or, for signals and kills, when it is connected again."""
        if kind == "kill" and not body["only_signal"]:
            self.last_kill = body
        if self.link is not None:
            self.link.send(kind, body)
        elif kind == "kill" and body["only_signal"]:
            self.pending_signals.append(body)

    def send_pending(self, running: RunKey, *, paused: bool) -> None:
        """After a reconnect, send pending signals, the last kill, and pause or resume."""
        if self.link is None:
            return
        if self.last_kill is not None and (self.last_kill["seq"], self.last_kill["run"]) == running:
            self.link.send("kill", self.last_kill)
        pending_signals, self.pending_signals = self.pending_signals, []
        for body in pending_signals:
            self.link.send("kill", body)
        if paused is not self.is_stopped:
            self.link.send("pause" if paused else "resume", {"seq": running.seq, "run": running.run})

    @property
    def is_connected(self) -> bool:
        """Whether it has a connection."""
        return self.link is not None

    @property
    def is_leaving(self) -> bool:
        """Whether it starts no further job: it is draining, or was refused."""
        return self.draining or self.is_refused

    @property
    def is_free(self) -> bool:
        """Whether it could start a job now."""
        return (
            self.job is None
            and self.link is not None
            and not self.draining
            and not self.is_cooling_down
            and self.ready.done()
        )


def spawn(worker_id: int, places: WorkerPaths) -> int:
    """Start a worker process in its own session and return its pid. Raises OSError.

    By exec, not by a bare fork, since this process has threads. It inherits stdout and stderr, the daemon's log.
    """
    command = [
        sys.executable,
        "-P",  # never import from the working directory
        "-m",
        "queuectld.worker.main",
        *("--id", str(worker_id)),
        *("--socket", str(places.socket)),
        *("--state", str(places.state)),
        *("--logs", str(places.logs)),
        *("--nofile", str(places.nofile)),
    ]
    return os.posix_spawn(
        sys.executable,
        command,
        _environment(os.environ),
        file_actions=[(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)],
        setsid=True,
        setsigdef=DEFAULT_SIGNALS,
        setsigmask=[],
    )


def watch_exit(pid: int, started: int, ended: Callable[[], None]) -> Callable[[], None] | None:
    """Call `ended` once when this process ends. Returns a function that stops watching, or None if it has ended.

    Uses a pidfd, so that a reused pid is never mistaken for it. Raises OSError without a free descriptor.
    """
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    try:
        lives = procfs.is_alive(pid, started)
    except OSError:
        os.close(pidfd)
        raise
    if not lives:
        os.close(pidfd)
        return None
    loop = asyncio.get_running_loop()

    def stop() -> None:
        loop.remove_reader(pidfd)
        os.close(pidfd)

    def readable() -> None:
        try:
            stop()
        finally:
            ended()  # even if closing the descriptor failed

    loop.add_reader(pidfd, readable)
    return stop


def end_child(pid: int) -> None:
    """Kill and reap an unreaped child; its pid cannot have been reused."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def collect_exit(pid: int) -> None:
    """Reap the process if it is our child; a worker of an earlier daemon is not."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def _environment(ours: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in ours.items() if name not in PRIVATE_VARIABLES}
