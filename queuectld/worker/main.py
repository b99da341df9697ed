"""The worker process: `python -m queuectld.worker.main`. It runs one job at a time and outlives the daemon.

Handles the frames from the daemon, reports outcomes, and keeps them until they are acknowledged. It has no database
handle, and imports everything before its first job, so that an upgrade of the package does no harm. Only stdlib and
msgpack, to keep idle workers small.
"""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import signal
import sys
import time

import queuectld
from queuectld import boot, failpoints
from queuectld.worker.deadlines import Deadlines
from queuectld.worker.execution import Execution
from queuectld.worker.leftover_pipes import LeftoverPipes
from queuectld.worker.loop import Loop
from queuectld.worker.pipes import Pipes
from queuectld.worker.process_tree import ProcessTree, become_subreaper
from queuectld.worker.runner import WORKER_UMASK, Runner
from queuectld.worker.uplink import Uplink
from queuectld.workerwire import cgroup, frames, procfs, spool, statefile
from queuectld.workerwire.outputfiles import OutputFiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

PATIENCE_SECONDS: Final = 10.0
"""How long an idle worker without a daemon waits before it exits."""
RETRY_SECONDS: Final = 5.0
"""Delay before removing a file is tried again."""
OPTIONS: Final = ("--id", "--socket", "--state", "--logs", "--nofile", "--patience")


class Worker:
    """The worker: at most one execution, the connection to the daemon, and unacknowledged outcomes."""

    def __init__(
        self,
        number: int,
        *,
        socket: str,
        state: str,
        logs: str,
        patience: float,
        group: cgroup.WorkerGroup | None = None,
    ) -> None:
        self.number = number
        self.loop = Loop()
        self.runner = Runner()
        self.tree = ProcessTree(group)
        self.pipes = Pipes(self.loop)
        self.deadlines = Deadlines(self.loop)
        self.execution: Execution | None = None
        me = os.getpid()
        self.identity: dict[str, Any] = {
            "worker_pid": me,
            "worker_start_time": procfs.start_time(me),
            "boot_id": boot.boot_id(),
        }
        self._state = state
        self.state_fd = statefile.open_for_writing(statefile.path_of(state, number))
        # Run 0: no run has started. Also names the group, so that it is removed if this worker is killed before its
        # first run.
        path = None if group is None else group.path
        statefile.write(self.state_fd, {"seq": 0, "run": 0, "pid": 0, "cgroup": path, **self.identity})
        self._logs = logs
        self._patience = patience
        self._files: dict[str, OutputFiles] = {}
        self._environments = frames.RecentEnvironments()
        self._unacknowledged: dict[tuple[int, int], dict[str, Any]] = {}
        self._spooled: set[tuple[int, int]] = set()
        self._jobs_done = 0
        self._draining = False
        self._is_short_of_resources = False
        """Whether the last run could not start for lack of descriptors, memory or processes."""
        self._leftover_pipes = LeftoverPipes(self.loop, forked=self.tree.disown, log=self.log)
        self.uplink = Uplink(self.loop, socket, connected=self._hello, frame=self._frame, lost=self._lost)
        self._handlers: dict[str, Callable[[dict[str, Any]], None]] = {
            "welcome": lambda _body: self.loop.cancel("patience"),
            "run": self._run,
            "stored": self._stored,
            "kill": self._kill,
            "pause": self._pause,
            "resume": self._resume,
            "follow": self._follow,
            "send": self._send,
            "drain": lambda _body: self.drain(),
        }

    def work(self) -> int:
        """Work until drained, or until the daemon has been gone too long. Returns the exit code.

        On an unexpected failure of a system call it returns 1; the daemon recovers the current job.
        """
        failpoints.reached("worker.started")
        for number in (signal.SIGTERM, signal.SIGINT):
            self.loop.on_signal(number, self.drain)
        self.loop.at("patience", time.monotonic() + self._patience, self._give_up)
        try:
            spool.create_reserve(self._state, self.number)
            self.uplink.connect()
            self.loop.run()
        except OSError as error:
            self.log(f"exiting, a system call failed: {error}")
            self._spool()
            return 1
        self.uplink.close()
        self._leftover_pipes.hand_over()
        for files in self._files.values():
            files.close()
        spool.drop_reserve(self._state, self.number)
        return 0

    # For the execution

    def files_for(self, stream: str) -> OutputFiles:
        """Return the output files of a stream."""
        files = self._files.get(stream)
        if files is None:
            files = self._files[stream] = OutputFiles(self._logs, self.number, stream)
        return files

    def finished(self, outcome: dict[str, Any]) -> None:
        """Report the outcome, or spool it while disconnected, and keep it until it is acknowledged."""
        self.execution = None
        self._is_short_of_resources = False
        if self.tree.has_left_some:
            self.loop.on_signal(signal.SIGCHLD, self._reap_left)
        else:
            self.loop.off_signal(signal.SIGCHLD)
        self._jobs_done += 1
        self._unacknowledged[outcome["seq"], outcome["run"]] = outcome
        if self.uplink.is_up:
            self.uplink.send("ended", outcome)
            failpoints.reached("worker.sent")
        else:
            self._spool()
            self.loop.at("patience", time.monotonic() + self._patience, self._give_up)
            self._end_if_drained()

    def not_begun(self, seq: int, run: int, short: str | None) -> None:
        """Return a run that did not start, for no fault of the job. `short`: the missing resource, if any."""
        self.execution = None
        record = {"seq": 0, "run": 0, "pid": 0, "cgroup": self.tree.group_path, **self.identity}
        with contextlib.suppress(OSError):  # a stale record does no harm
            statefile.write(self.state_fd, record)
        if short is not None and not self._is_short_of_resources:
            self.log(f"cannot start jobs: {short}; returning them until it can")
            self._is_short_of_resources = True
        # While disconnected, the next hello reports that no job runs.
        self.uplink.send("returned", {"seq": seq, "run": run, "short": short})
        if not self.uplink.is_up:
            self.loop.at("patience", time.monotonic() + self._patience, self._give_up)
        self._end_if_drained()

    def log(self, words: str) -> None:
        """Write a line to the daemon's log, if possible."""
        with contextlib.suppress(OSError):
            print(f"worker w{self.number}: {words}", file=sys.stderr, flush=True)

    def log_unraisable(self, unraisable: Any) -> None:
        """Log an exception that Python cannot raise, such as a failed write to the wake-up descriptor of signals."""
        self.log(f"exception ignored: {unraisable.exc_value!r}")

    def discard(self, whose: str, pipe: int) -> None:
        """Take over the reading end of a pipe that a leftover process still writes to, and discard what it writes."""
        self.log(f"{whose} left a process behind that still writes to its output; discarding that")
        self._leftover_pipes.take(pipe)

    # Requests of the daemon

    def drain(self) -> None:
        """Finish the current job, wait until its outcome is stored or spooled, then end."""
        self._draining = True
        self._end_if_drained()

    def _frame(self, kind: str, body: dict[str, Any]) -> None:
        handler = self._handlers.get(kind)
        if handler is not None:  # ignore frames of a newer daemon
            handler(body)

    def _run(self, job: dict[str, Any]) -> None:
        failpoints.reached("worker.told")
        environ = self._environ(job)
        if self.execution is not None or self._draining:
            self.uplink.send("returned", {"seq": job["seq"], "run": job["run"]})
            return
        self.execution = Execution(self, job, environ)
        self.execution.begin()

    def _environ(self, job: dict[str, Any]) -> dict[bytes, bytes]:
        environment = job.pop("environment", None)
        if environment is not None:
            self._environments.keep(job["environment_id"], _encoded(environment))
        elif job["environment_id"] not in self._environments:
            # A new connection begins with no environments on both sides; the claim goes back to the daemon.
            raise frames.WireError(f"environment {job['environment_id']} was not sent")
        environ = dict(self._environments.recall(job["environment_id"]))
        if job["env"]:
            environ.update(_encoded(job["env"]))
        environ[b"QUEUECTL_JOB_ID"] = job["id"].encode()
        environ[b"QUEUECTL_ATTEMPT"] = b"%d" % job["attempt"]
        environ[b"QUEUECTL_RUN"] = b"%d" % job["run"]
        environ[b"QUEUECTL_QUEUE"] = job["queue"].encode()
        environ[b"QUEUECTL_WORKER"] = b"w%d" % self.number
        environ[b"QUEUECTL_SOCKET"] = os.fsencode(job["socket"])
        return environ

    def _stored(self, body: dict[str, Any]) -> None:
        failpoints.reached("worker.acknowledged")
        for seq, run in body["runs"]:
            self._unacknowledged.pop((seq, run), None)
        if self._spooled:
            self._unspool()
        self._end_if_drained()

    def _unspool(self) -> None:
        """Remove the spool files of acknowledged outcomes; retried on failure."""
        for seq, run in self._spooled - self._unacknowledged.keys():
            try:
                spool.remove(spool.path_of(self._state, self.number, seq, run))
            except OSError:
                self.loop.at("unspool", time.monotonic() + RETRY_SECONDS, self._unspool)
            else:
                self._spooled.discard((seq, run))

    def _kill(self, body: dict[str, Any]) -> None:
        execution = self._execution_of(body)
        if execution is None:
            return
        if body.get("only_signal"):
            execution.signal(body["only_signal"])
        else:
            execution.end(body["reason"], body["grace_ms"] / 1000)

    def _pause(self, body: dict[str, Any]) -> None:
        execution = self._execution_of(body)
        if execution is not None:
            execution.pause()

    def _resume(self, body: dict[str, Any]) -> None:
        execution = self._execution_of(body)
        if execution is not None:
            execution.resume()

    def _follow(self, body: dict[str, Any]) -> None:
        execution = self._execution_of(body)
        if execution is not None:
            execution.follow(body.get("on", True))

    def _send(self, body: dict[str, Any]) -> None:
        execution = self._execution_of(body)
        if execution is not None:
            execution.send(body["number"], body["data"], body["eof"])
        else:
            answer = {"seq": body["seq"], "run": body["run"], "number": body["number"], "refused": "ended"}
            self.uplink.send("sent", answer)

    def _execution_of(self, body: dict[str, Any]) -> Execution | None:
        """Return the execution that a frame is about; None if it has ended."""
        execution = self.execution
        if execution is not None and (execution.seq, execution.run) == (body["seq"], body["run"]):
            return execution
        return None

    # The connection

    def _hello(self) -> None:
        self._environments = frames.RecentEnvironments()
        self.uplink.send(
            "hello",
            {
                "worker": self.number,
                "pid": self.identity["worker_pid"],
                "start_time": self.identity["worker_start_time"],
                "boot_id": self.identity["boot_id"],
                "version": queuectld.__version__,
                "protocol": frames.PROTOCOL,
                "jobs_done": self._jobs_done,
                "draining": self._draining,
                "knows": frames.KNOWS,
                "running": self.execution.snapshot if self.execution is not None else None,
                "ended": list(self._unacknowledged.values()),
            },
        )
        failpoints.reached("worker.connected")

    def _lost(self) -> None:
        self._spool()
        # The timer keeps running if the daemon closed the connection before its welcome.
        if self.loop.when("patience") is None:
            self.loop.at("patience", time.monotonic() + self._patience, self._give_up)
        self._end_if_drained()

    def _give_up(self) -> None:
        """End after too long without a daemon, unless a job runs or an outcome could not be spooled."""
        if self.execution is None and not self.uplink.is_up:
            self._spool()
            if self._spooled.issuperset(self._unacknowledged):
                self.loop.stop()
            else:
                self.loop.at("patience", time.monotonic() + self._patience, self._give_up)

    def _end_if_drained(self) -> None:
        if not self._draining or self.execution is not None:
            return
        if self.uplink.is_up and not self._unacknowledged:
            self.uplink.send("drained", {})
            self.loop.stop()
        elif not self.uplink.is_up and self._spooled.issuperset(self._unacknowledged):
            self.loop.stop()

    def _spool(self) -> None:
        """Spool all unacknowledged outcomes; one that cannot be written stays in memory."""
        for key, outcome in self._unacknowledged.items():
            if key not in self._spooled:
                try:
                    spool.save(self._state, self.number, outcome)
                except OSError as error:
                    self.log(f"cannot spool an outcome: {error}")
                else:
                    self._spooled.add(key)

    def _reap_left(self) -> None:
        self.tree.reap()


def main(arguments: list[str]) -> int:
    """Run a worker with the options in OPTIONS. Returns 0 if it was drained or gave up, 1 on failure."""
    options = dict(zip(arguments[::2], arguments[1::2], strict=True))
    try:
        worker, group = _begin(options)
    except OSError as error:
        with contextlib.suppress(OSError):
            print(f"worker w{options['--id']}: cannot start: {error}", file=sys.stderr, flush=True)
        return 1
    gc.collect()
    gc.freeze()  # these objects are permanent; jobs create few cycles, so collect less often
    gc.set_threshold(10_000)
    sys.unraisablehook = worker.log_unraisable
    exit_code = worker.work()
    if group is not None and exit_code == 0:
        group.leave()
    return exit_code


def _begin(options: dict[str, str]) -> tuple[Worker, cgroup.WorkerGroup | None]:
    """Prepare this process and return the worker and its control group, if any. Raises OSError."""
    os.umask(WORKER_UMASK)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:  # inherited descriptors; EBADF for that of the listing itself
            with contextlib.suppress(OSError):
                os.close(int(name))
    os.chdir("/")
    become_subreaper()
    if "--nofile" in options:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        soft = int(options["--nofile"])
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft if hard < 0 else min(soft, hard), hard))
    number = int(options["--id"])
    group = cgroup.enter(number)
    worker = Worker(
        number,
        socket=options["--socket"],
        state=options["--state"],
        logs=options["--logs"],
        patience=float(options.get("--patience", PATIENCE_SECONDS)),
        group=group,
    )
    return worker, group


def _encoded(environment: dict[str, str]) -> dict[bytes, bytes]:
    """Encode an environment independently of the locale."""
    return {
        name.encode("utf-8", "surrogateescape"): value.encode("utf-8", "surrogateescape")
        for name, value in environment.items()
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
