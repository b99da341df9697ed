"""One run of one job, from its start to its outcome.

Owns the leader process, the pipes and the timers of the run, and decides how it ended. The order is always the same:
the leader ends (but is not reaped, so that its group id cannot be reused), the rest of its tree is killed unless it
exited with 0, the pipes are drained, the leader is reaped, the outcome is reported.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from functools import partial

from queuectld import failpoints
from queuectld.worker.runner import TRANSIENT, CannotStart, peak_memory
from queuectld.worker.stdin import OpenStdin
from queuectld.workerwire import frames, procfs, statefile, unkillable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Final

    from queuectld.worker.host import Host

PIPES_AFTER_SECONDS: Final = 0.002
"""Delay before the pipes are watched: a shorter job then takes two wake-ups instead of four."""
KILL_AGAIN_SECONDS: Final = 0.5
"""Interval between KILL signals, for processes that remain or were just forked."""
START_TRIES: Final = 5
START_GAP_SECONDS: Final = 0.05
"""Doubled at each attempt while a resource is exhausted. Then the job is returned to the daemon."""
REASONS: Final[dict[str, tuple[str | None, str]]] = {
    "cancelled": (None, "cancelled"),
    "shutdown": ("interrupted", "its worker was told to stop now"),
    "timeout": ("timeout", "it ran longer than it may"),
    "stalled": ("stalled", "no output for longer than it may"),
}
"""The reasons of `kill` frames: outcome kind (None: according to the exit status) and description."""


class Execution:
    """One run. `worker` provides the loop, the runner and the process tree, and receives the outcome."""

    def __init__(self, worker: Host, job: dict[str, Any], environ: dict[bytes, bytes]) -> None:
        self.seq: int = job["seq"]
        self.run: int = job["run"]
        self.pid = 0
        self.paused = False
        self._worker = worker
        self._loop = worker.loop
        self._tree = worker.tree
        self._job = job
        self._environ = environ
        self._mark = worker.runner.marks.next()
        self._started = time.monotonic()
        self._started_ms = time.time_ns() // 1_000_000
        self._announced: dict[str, Any] | None = None
        self._pipes = worker.pipes
        self._pidfd: int | None = None
        self._tries = 0
        self._status: os.waitid_result | None = None
        self._ending = False
        """Whether the kill ladder has started."""
        self._kind: str | None = None
        self._words = ""
        self._killed = 0.0
        self._followed = False
        self._deadlines = worker.deadlines
        self._stdin = self._open_stdin() if job.get("stdin_open") else None

    # The start

    def begin(self) -> None:
        """Record the run in the state file, then start it. It may have ended when this returns."""
        # Before the process exists: a run without a record never started, and may start elsewhere at once.
        error = self._write_state(0, None)
        if error is not None:
            # Recovery would take the run for one that never started, so it must not start.
            self._return_to_daemon(f"cannot write the state file: {error.strerror}")
            return
        failpoints.reached("worker.noted")
        self._start()

    def _start(self) -> None:
        ends: list[int] = []
        try:
            streams = ("stdout", "stderr") if self._job["split_output"] else ("both",)
            files = [(stream, self._worker.files_for(stream)) for stream in streams]
            self._pipes.open(files, self._job["log_max_bytes"], ends)
            stdin = None if self._stdin is None else self._stdin.open()
            outputs = (ends[0], ends[-1])
            self.pid = self._worker.runner.start(self._job, self._environ, outputs, stdin, self._mark)
        except CannotStart as error:
            self._cannot_start(error.words, error.exit_code)
        except OSError as error:
            self._start_later(error)
        finally:
            for end in ends:
                os.close(end)
        if self.pid:
            self._has_started()

    def _start_later(self, error: OSError) -> None:
        self._pipes.close()
        self._tries += 1
        if error.errno not in TRANSIENT:
            self._cannot_start(f"the process could not be made: {error.strerror}", None)
            return
        if self._tries == START_TRIES:
            self._return_to_daemon(error.strerror or str(error))
            return
        gap = START_GAP_SECONDS * 2 ** (self._tries - 1)
        self._loop.at("start", time.monotonic() + gap, self._start)

    def _has_started(self) -> None:
        failpoints.reached("worker.spawned")
        self._started = time.monotonic()
        self._started_ms = time.time_ns() // 1_000_000
        if self._stdin is not None:
            self._stdin.started()
        self._tree.adopt(self.pid, self._job["id"], self.run, self._mark)
        try:
            self._pidfd = os.pidfd_open(self.pid)
            self._loop.watch(self._pidfd, self._leader_ended)
        except OSError:  # no free descriptor: rely on SIGCHLD
            self._loop.on_signal(signal.SIGCHLD, self._child_ended)
        self._loop.at("stage", self._started + PIPES_AFTER_SECONDS, self._is_not_over_at_once)
        job = self._job
        self._deadlines.begin(self._started, job["timeout_ms"], job["stall_timeout_ms"], self._past_deadline)

    def _is_not_over_at_once(self) -> None:
        if self._pidfd is None:
            self._child_ended()  # it may have ended before SIGCHLD was handled
            if self._worker.execution is not self or self._status is not None:
                return
        self._pipes.watch(self._output_came)
        self._loop.at("stage", self._started + frames.RUNNING_AFTER_MS / 1000, self._announce)

    def _announce(self) -> None:
        """Announce a longer run: tell the daemon, record the pid in the state file, write output to a file."""
        start_time = procfs.start_time(self.pid)  # first, as the loop repeats this on a lack of descriptors
        self._loop.cancel("stage")
        # From now on, reap adopted children that end.
        self._loop.on_signal(signal.SIGCHLD, self._child_ended)
        self._announced = {
            "seq": self.seq,
            "run": self.run,
            "pid": self.pid,
            "start_time": start_time,
            "started_ms": self._started_ms,
        }
        self._write_state(self.pid, start_time)
        self._worker.uplink.send("running", self._announced)
        failpoints.reached("worker.announced")
        self._pipes.write_through()

    def _write_state(self, pid: int, start_time: int | None) -> OSError | None:
        """Write the record of this run. Returns the error if that fails."""
        record = {"seq": self.seq, "run": self.run, "job": self._job["id"], "pid": pid, "start_time": start_time}
        record |= {"started_ms": self._started_ms, "socket": self._job["socket"], "cgroup": self._tree.group_path}
        try:
            statefile.write(self._worker.state_fd, record | {"mark": self._mark, **self._worker.identity})
        except OSError as error:
            # Unlikely, as its block is preallocated. A run that is already recorded can be found by its mark.
            self._worker.log(f"cannot write the state file: {error}")
            return error
        return None

    @property
    def snapshot(self) -> dict[str, Any]:
        """The run as described in hello."""
        if self._announced is None and self.pid and self._status is None:
            self._pipes.watch(self._output_came)
            with contextlib.suppress(OSError):  # it is announced later
                self._announce()
        told = self._announced or {"seq": self.seq, "run": self.run, "pid": self.pid, "start_time": None}
        return {"started_ms": self._started_ms, **told, "paused": self.paused}

    # While it runs

    def follow(self, on: bool) -> None:
        """Start (or stop) writing output through and reporting it to the daemon."""
        self._followed = on
        if on:
            if self._announced is None and self.pid:
                self._pipes.watch(self._output_came)
            self._pipes.write_through()
            self._report_output()

    def send(self, number: int, data: bytes, eof: bool) -> None:
        """Write to its stdin, and close it afterwards if `eof`. Answered by a `sent` frame with this number."""
        if self._stdin is None:
            self._answer_send(number, "closed")
        else:
            self._stdin.take(number, data, eof)

    def _open_stdin(self) -> OpenStdin:
        first = (self._job.get("stdin") or "").encode("utf-8", "surrogateescape")
        return OpenStdin(self._loop, first, self._answer_send)

    def _answer_send(self, number: int, refused: str | None) -> None:
        body = {"seq": self.seq, "run": self.run, "number": number, "refused": refused}
        self._worker.uplink.send("sent", body)

    def pause(self) -> None:
        """Stop every process of the job and suspend its timeouts."""
        if not self.pid or self.paused or self._status is not None or self._ending:
            return
        self.paused = True
        self._deadlines.pause()
        self._tree.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue every process of the job and its timeouts."""
        if not self.paused:
            return
        self.paused = False
        self._deadlines.resume()
        self._tree.signal(signal.SIGCONT)

    def signal(self, number: int) -> None:
        """Send a signal to every process of the job."""
        if self.pid:
            self._tree.signal(number)

    def end(self, reason: str, grace: float) -> None:
        """Start the kill ladder: TERM to all processes, KILL after `grace` seconds. The outcome follows.

        `reason` is one of REASONS, or a description. A second call can only shorten the grace.
        """
        kind, words = REASONS.get(reason, (None, reason))
        self._end(kind, words, grace)

    def _past_deadline(self, kind: str, words: str) -> None:
        self._end(kind, words, self._grace)

    @property
    def _grace(self) -> float:
        return float(self._job["kill_grace_ms"]) / 1000

    def _end(self, kind: str | None, words: str, grace: float) -> None:
        if not self.pid:
            self._loop.cancel("start")
            if kind == "interrupted":
                self._return_to_daemon(None)
            else:
                self._cannot_start(words, None)
            return
        if not self._words:
            self._kind, self._words = kind, words
        when = time.monotonic() + grace
        kill_at = self._loop.when("kill")
        if kill_at is None or when < kill_at:
            self._start_kill_ladder(when)

    def _start_kill_ladder(self, kill_at: float) -> None:
        """Send TERM, and CONT since a stopped process does not handle TERM; KILL what remains at `kill_at`."""
        self._ending = True
        self.paused = False
        self._deadlines.clear()
        self._loop.on_signal(signal.SIGCHLD, self._child_ended)
        self._loop.at("kill", kill_at, self._kill)
        self._tree.signal(signal.SIGTERM)
        self._tree.signal(signal.SIGCONT)
        failpoints.reached("worker.ladder")
        self._finish_if_all_ended()

    def _kill(self) -> None:
        self._tree.kill()
        now = time.monotonic()
        self._killed = self._killed or now
        self._loop.at("kill", now + KILL_AGAIN_SECONDS, self._kill)
        self._finish_if_all_ended()
        if self._worker.execution is self:
            survivors = unkillable.survivors_of(self._tree.living(), now - self._killed)
            if survivors:
                self._finish(survivors)

    def _output_came(self) -> None:
        now = time.monotonic()
        self._deadlines.output_came(now)
        if self._followed and self._loop.when("tell") is None:
            self._loop.at("tell", now + frames.OUTPUT_INTERVAL_MS / 1000, self._report_output)

    def _report_output(self) -> None:
        self._worker.uplink.send("output", {"seq": self.seq, "run": self.run, "output": self._pipes.snapshot})

    # The end

    def _leader_ended(self, _events: int = 0) -> None:
        if self._worker.execution is not self:
            return
        self._status = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        if self._status is None:
            return
        failpoints.reached("worker.ended")
        self._forget_pidfd()
        self._loop.cancel("stage")
        self._deadlines.clear()
        exited_0 = self._status.si_code == os.CLD_EXITED and self._status.si_status == 0
        if (exited_0 and not self._ending) or self._tree.is_alone():
            self._finish()
        elif not self._ending:
            self._pipes.watch(self._output_came)
            self._start_kill_ladder(time.monotonic() + self._grace)
        else:
            self._finish_if_all_ended()

    def _forget_pidfd(self) -> None:
        if self._pidfd is not None:
            self._loop.unwatch(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None

    def _child_ended(self) -> None:
        if self._status is None and self._pidfd is None:
            self._leader_ended()
        else:
            self._finish_if_all_ended()

    def _finish_if_all_ended(self) -> None:
        if self._worker.execution is not self:
            return
        self._tree.reap()
        if self._status is not None and not self._tree.members():
            self._finish()

    def _finish(self, survivors: Sequence[list[Any]] = ()) -> None:
        """Finish the run: no process is left except `survivors`, which may include the leader."""
        # First, as it is repeated on a lack of descriptors, and what follows cannot be.
        left = self._tree.forget_leader(has_ended=self._status is not None)
        ended = self._how_it_ended(self._status)
        output, lost = self._pipes.finish(self.seq, self.run)
        failpoints.reached("worker.kept")
        self._words = "; ".join(words for words in (self._words, unkillable.words(survivors), lost) if words)
        usage: dict[str, Any] = {}
        if self._status is not None:
            used = os.wait4(self.pid, 0)[2]
            usage["user_us"] = round(used.ru_utime * 1_000_000)
            usage["system_us"] = round(used.ru_stime * 1_000_000)
            usage["max_rss_kib"] = peak_memory.of_job(used.ru_maxrss)
        body = self._outcome(*ended)
        body.update(usage, left_behind=procfs.describe(left) if left else None, output=output)
        if survivors:
            body["survivors"] = survivors
        self._forget_pidfd()
        for key in ("stage", "kill", "tell"):
            self._loop.cancel(key)
        self._pipes.close(partial(self._worker.discard, f"{self._job['id']} run {self.run}"))
        failpoints.reached("worker.reaped")
        self._worker.finished(body)

    def _how_it_ended(self, status: os.waitid_result | None) -> tuple[str, int | None, int | None]:
        """Return kind, exit code and signal."""
        if status is None:
            return self._kind or "signal", None, None
        if status.si_code != os.CLD_EXITED:
            return self._kind or "signal", None, status.si_status
        if status.si_status == 0 and self._kind == "interrupted":
            # It has completed within its grace, so there is nothing to run again.
            self._words = ""
            return "exit", 0, None
        if self._ending and status.si_status == 0 and self._kind is None:
            # It exited with 0 after TERM, but was cut short.
            return "signal", None, int(signal.SIGTERM)
        return self._kind or "exit", status.si_status, None

    def _return_to_daemon(self, short: str | None) -> None:
        """Return the run, which has not started, to the daemon."""
        if self._stdin is not None:
            self._stdin.close()
        self._worker.not_begun(self.seq, self.run, short)

    def _cannot_start(self, words: str, exit_code: int | None) -> None:
        self._pipes.close()
        self._words = words
        self._worker.finished(self._outcome("cannot-start", exit_code, None))

    def _outcome(self, kind: str, exit_code: int | None, number: int | None) -> dict[str, Any]:
        if self._stdin is not None:
            self._stdin.close()
        finished_ms = time.time_ns() // 1_000_000
        duration_ms = round((time.monotonic() - self._started) * 1000)
        return {
            "seq": self.seq,
            "run": self.run,
            "kind": kind,
            "started_ms": self._started_ms,
            "finished_ms": max(finished_ms, self._started_ms),
            "duration_ms": duration_ms,
            "exit_code": exit_code,
            "signal": number,
            "words": self._words,
            "worker": self._worker.number,
            "pid": self.pid or None,
        }
