"""One worker process as the daemon sees it: how it is started, and what is known of it."""

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
"""Between the daemon and systemd alone; or of the job that has started the daemon, whose worker this is none of."""
DEFAULT_SIGNALS: Final = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
"""What was ignored when the daemon was started (`trap '' CHLD`) is not so for a worker: it waits for its jobs."""


class WorkerPaths(NamedTuple):
    """Where a worker finds its daemon and keeps its files; `nofile` is the soft descriptor limit that jobs get."""

    socket: Path
    state: Path
    logs: Path
    nofile: int


class RunKey(NamedTuple):
    """One execution of one job."""

    seq: int
    run: int


class Worker:
    """A worker process. `link` is its connection; None means it has none to this daemon at the moment."""

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
        """It speaks another protocol, which was logged."""
        self.is_stopped = False
        """Whether its job was paused when it said hello."""
        self.has_connected = False
        """Whether it has connected to this daemon, be it only to be refused."""
        self.has_begun = False
        """Whether it has told that it runs `job`."""
        self.has_ended = False
        """Its process is gone, and what it ran is being settled."""
        self.unfinished_run: tuple[RunKey, str] | None = None
        """It was killed because this run did not end; why that should have ended."""

        self.is_cooling_down = False
        """Whether it gets no job for a while: it could not begin the newest one for want of something."""
        self.failed_starts = 0
        """How often that was so, one after the other."""
        self.pending_signals: list[Mapping[str, Any]] = []
        """Signals to its job that came while it had no connection."""
        self.last_kill: Mapping[str, Any] | None = None
        """The newest `kill` to end a run of it: told again, in case the connection broke with it on its way."""
        loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = loop.create_future()
        """Done with the first hello; fails when the process ends before."""
        self.gone: asyncio.Future[None] = loop.create_future()
        """Done when the process has ended and what it ran is settled."""

    @property
    def name(self) -> str:
        """As people and jobs see it."""
        return f"w{self.id}"

    @property
    def state(self) -> WorkerState:
        """What it does at the moment."""
        if not self.ready.done():
            return WorkerState.STARTING
        if self.link is None:
            return WorkerState.LOST
        if self.draining:
            return WorkerState.DRAINING
        return WorkerState.IDLE if self.job is None else WorkerState.BUSY

    @property
    def describe_leftover(self) -> str:
        """What is left of it, for people, where it was waited for in vain."""
        if not procfs.is_alive(self.pid, self.start_time):
            return f"worker {self.name} (pid {self.pid}) has ended, and the store could not be told"
        job = f", which runs job {self.job_id or self.job.seq}" if self.job is not None else ""
        return f"worker {self.name} (pid {self.pid}){job}"

    def tell(self, kind: str, body: Mapping[str, Any]) -> None:
        """Tell it something about its run: now, or where that still matters once it is connected again."""
        if kind == "kill" and not body["only_signal"]:
            self.last_kill = body
        if self.link is not None:
            self.link.send(kind, body)
        elif kind == "kill" and body["only_signal"]:
            self.pending_signals.append(body)

    def send_pending(self, running: RunKey, *, paused: bool) -> None:
        """Tell it what came while it had no connection: signals, and that its run is to end, to stop or to go on."""
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
        """Whether it can be told anything at the moment."""
        return self.link is not None

    @property
    def is_leaving(self) -> bool:
        """Whether it starts no other job: it was told to end, or will as this daemon is of another version."""
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
    """Start a worker process in a session of its own; its pid. Raises OSError.

    By exec, never by a bare fork: this process has threads. Its stdout and stderr lead to the daemon's log, as ours do.
    """
    command = [
        sys.executable,
        "-P",  # nothing that lies in the working directory is ever imported
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
    """Call `ended` once when this very process ends; None when it has already. Returns how to stop watching.

    By pidfd, so that a pid used again by a stranger is never mistaken for the worker. Raises OSError when there is no
    descriptor left.
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
            ended()  # whatever became of the descriptor

    loop.add_reader(pidfd, readable)
    return stop


def end_child(pid: int) -> None:
    """Kill a child of ours that was not reaped, so that its pid is nobody else's, and reap it."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def collect_exit(pid: int) -> None:
    """Collect the exit status where the process is our child; one that an earlier daemon started is not."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def _environment(ours: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in ours.items() if name not in PRIVATE_VARIABLES}
