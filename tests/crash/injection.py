"""One system call of a daemon or worker fails beside a running load; then all that must hold is looked at."""

import os
import random
import shutil
import signal
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from queuectl_client import Client
from queuectl_client.errors import (
    ConnectionLost,
    DaemonUnreachable,
    InvalidParams,
    NoDaemon,
    NotFound,
    QueuectlError,
    WrongState,
)
from tests.crash import tracing
from tests.crash.kinds import Kinds
from tests.crash.marks import Marked
from tests.crash.stage import DEADLINE_S, Stage
from tests.crash.tracing import Trace
from tests.support import processes
from tests.support.daemon import Home
from tests.support.eventually import eventually

WORKERS: Final = 2
MOMENTS: Final = ("start", "running", "recovery")
"""From its first look at its home on; while it works; while it works and the other one, daemon or worker, is killed."""
SILENCE_S: Final = 12.0
"""No call that waits for nothing goes unanswered for so long."""
STOP_WITHIN_S: Final = 25
REST_S: Final = 0.4
MOST_CPU_AT_REST: Final = 0.5
OF_THE_COMMAND: Final = frozenset({"chdir"})
"""Errors of these may be what keeps a command from being started, and then a job may fail for them."""
EXPECTED: Final = (InvalidParams, NotFound, WrongState)


class Trial(NamedTuple):
    """`worker:running:sendto:ENOBUFS:2`: the second sendto of each thread of a worker that runs already."""

    who: str
    moment: str
    call: str
    error: str
    when: str

    def __str__(self) -> str:
        return ":".join(self)

    @classmethod
    def parse(cls, text: str) -> Self:
        """The inverse of str. ValueError."""
        who, moment, call, error, when = text.split(":")
        if who not in ("daemon", "worker") or moment not in MOMENTS:
            raise ValueError(f"{text!r} is not daemon|worker:{'|'.join(MOMENTS)}:CALL:ERROR:WHEN")
        return cls(who, moment, call, error, when)

    @property
    def words(self) -> list[str]:
        """For strace."""
        return ["-e", f"trace={self.call}", "-e", f"inject={self.call}:error={self.error}:when={self.when}"]


class Result(NamedTuple):
    """Whether the call was made at all, and what was wrong afterwards; where something was, the home is kept."""

    met: bool
    faults: list[str]
    home: Path


class _Stage(Stage):
    """Where a job may end otherwise for the error of a system call, if that is told."""

    forgives_start = False

    def faults_of(self, job: Marked) -> list[str]:
        told = self.job(job.id)
        if self.forgives_start and (told["reason"] or "").startswith(("cannot-start", "dependency")):
            return []
        if told["attempts_list"] and told["attempts_list"][-1]["output_dropped"]:
            job = job._replace(output=None)
        return self.marks.faults(job, told, None if job.output is None else self.output(job.id))


class Scene:
    """A home under a load, with one process traced."""

    def __init__(self, who: str, moment: str, words: list[str], *, forgives_start: bool = False) -> None:
        self.home = Home()
        tracing.allow(self.home)
        self.stage = _Stage(self.home)
        self.stage.forgives_start = forgives_start
        self.stage.ask = self.ask
        self._kinds = Kinds(self.stage.marks, random.Random(1), setuid=None, without=())
        self._who, self._moment, self._words = who, moment, words
        self._log = self.home.path / "trace.log"
        self.trace: Trace | None = None
        self.killed = 0
        self._is_over = False

    def play(self) -> None:
        """All of it: a load, the fault in it, the end of every job, the daemon's end. Raises AssertionError."""
        with self.stage.restarter:
            self.stage.scale(WORKERS)
            self._store("before")
            self._attach()
            self._store("after")
            if self._moment == "recovery":
                self._kill_the_other()
            self._cancel_one()
            self.stage.finish(workers=WORKERS)
            self._let_go()
            self._is_at_rest()
            self.stage.restarter.hold()
            done = self.home.cli("daemon", "stop", "--now", timeout=STOP_WITHIN_S)
            assert done.returncode == 0, f"daemon stop exited {done.returncode}: {done.stderr}"
            eventually(lambda: not processes.processes_of(self.home.path), message="processes live on after the stop")
            self._is_over = True

    def close(self) -> None:
        """Nothing is left running."""
        self._let_go()
        self.stage.close()
        self.home.stop()

    def faults(self) -> list[str]:
        """What the daemons said and how they ended, and the store."""
        found = list(self.home.broken_promises())
        log = self.home.daemon_log()
        if "Traceback" in log:
            before, _, after = log.partition("Traceback")
            found.append(f"a traceback in the log: {before[-200:]}Traceback{after[:1500]}")
        odd = [code for code in self.stage.restarter.exits if code not in (0, 1)]
        if self._is_over and len(odd) > self.killed:
            found.append(f"daemons ended with {odd}, {self.killed} of them killed")
        return found

    def ask(self, method: str, **params: Any) -> Any:
        """A call until it is answered. What is refused for the fault is asked for again; silence is a fault."""

        def once() -> list[Any]:
            try:
                with Client(autostart=False, environ=self.home.env, timeout=SILENCE_S) as client:
                    return [client.call(method, **params)]
            except EXPECTED:
                raise
            except (ConnectionLost, NoDaemon) as error:
                raise AssertionError(str(error)) from None
            except DaemonUnreachable as error:
                raise TimeoutError(f"{method} is not answered: {error}") from None
            except QueuectlError as error:
                raise AssertionError(str(error)) from None

        return eventually(once, deadline=DEADLINE_S, message=f"no answer to {method}")[0]

    def _store(self, when: str) -> None:
        kinds = self._kinds
        names: list[Callable[[str], Marked]] = [kinds.plain, kinds.plain, kinds.holds_stdout, kinds.setsid]
        names += [kinds.keyed, kinds.keyed, kinds.retried if when == "before" else kinds.ignores_term, kinds.dependent]
        for number, kind in enumerate(names):
            job = kind(f"{when}-{number}-{kind.__name__}")
            self.ask("enqueue", **job.spec, cwd="/", request=str(uuid.uuid4()))
            self.stage.jobs.append(job)
        big = self.stage.marks.job(f"{when}-big", meanwhile="sleep 0.3", big=True)
        self.ask("enqueue", **big.spec, cwd="/", request=str(uuid.uuid4()))
        self.stage.jobs.append(big)

    def _attach(self) -> None:
        home, who = self.home, self._who
        if self._moment != "start":
            pid = self.stage.restarter.daemon().pid if who == "daemon" else self.stage.workers()[0]["pid"]
            self.trace = Trace(pid, self._words, self._log)
            return
        tracing.arm(home, who)
        if who == "daemon":
            os.kill(self.stage.restarter.daemon().pid, signal.SIGKILL)
            self.killed += 1
        else:
            os.kill(self.stage.workers()[0]["pid"], signal.SIGKILL)
        pid = tracing.caught(home, who)
        self.trace = Trace(pid, self._words, self._log)
        tracing.let_go_on(pid)

    def _kill_the_other(self) -> None:
        """So that the daemon buries a worker, and a worker spools, and looks for the next daemon."""
        if self._who == "worker":
            os.kill(self.stage.restarter.daemon().pid, signal.SIGKILL)
            self.killed += 1
        else:
            pids = [worker["pid"] for worker in self.stage.workers() if worker["pid"]]
            if pids:
                os.kill(pids[-1], signal.SIGKILL)

    def _cancel_one(self) -> None:
        self.ask("enqueue", id="victim", command="trap '' TERM; while :; do sleep 1; done", cwd="/", kill_grace=0.2,
                 priority=5, request=str(uuid.uuid4()))  # fmt: skip
        eventually(lambda: self.ask("job.get", id="victim")["state"] == "processing", deadline=DEADLINE_S)
        with suppress(WrongState):  # the repeat of one whose answer was lost
            self.ask("job.cancel", ids=["victim"])
        eventually(lambda: self.ask("job.get", id="victim")["state"] == "cancelled", deadline=DEADLINE_S)

    def _let_go(self) -> None:
        if self.trace is not None:
            self.trace.end()

    def _is_at_rest(self) -> None:
        pids = [self.stage.restarter.daemon().pid, *(worker["pid"] for worker in self.stage.workers())]

        def rests() -> bool:
            before = sum(_cpu_s(pid) for pid in pids)
            time.sleep(REST_S)  # is what is measured
            return sum(_cpu_s(pid) for pid in pids) - before < MOST_CPU_AT_REST * REST_S

        eventually(rests, message="with nothing to do it uses the processor")


def run(trial: Trial) -> Result:
    """One trial at a home of its own."""
    scene = Scene(trial.who, trial.moment, trial.words, forgives_start=trial.call in OF_THE_COMMAND)
    faults = []
    try:
        try:
            scene.play()
        except (AssertionError, OSError, QueuectlError) as failure:
            faults.append(f"{type(failure).__name__}: {failure}")
        except Exception as failure:  # a command that did not come back, and what nobody foresaw
            faults.append(repr(failure))
    finally:
        scene.close()
    faults += scene.faults()
    met = scene.trace is not None and scene.trace.has_injected()
    if not faults:
        shutil.rmtree(scene.home.path, ignore_errors=True)
    return Result(met, faults, scene.home.path)


def learn(who: str, moment: str) -> list[str]:
    """The calls that a process makes under this load."""
    scene = Scene(who, moment, ["-e", "trace=all"])
    try:
        scene.play()
        assert scene.trace is not None
        return scene.trace.calls()
    finally:
        scene.close()
        scene.home.remove()


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
