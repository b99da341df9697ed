"""Daemon or worker is killed at every named step; restarted, every job ends once and whole, or says that it ran again.

Each failpoint has a scenario that reaches it. A point that no scenario knows, that is never reached in the code, or
that a scenario does not get to, fails here.
"""

import ast
import os
import re
import signal
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from queuectl_client import Client
from queuectl_client.errors import ConnectionLost, DaemonUnreachable, WrongState
from queuectld.failpoints import FAILPOINTS
from tests.crash.keeper import Keeper
from tests.crash.marks import BIG_LIMIT, Marked, Marks
from tests.support.daemon import Home
from tests.support.eventually import eventually
from tests.support.processes import processes_of

ROOT = Path(__file__).parents[2]
WORKERS = 2
DEADLINE_S = 30


class Stage:
    """One home with a daemon that comes back, and a failpoint that acts once."""

    def __init__(self, home: Home, point: str, action: str = "kill", at: int = 1) -> None:
        self.home = home
        self.fired = home.path / "fired" / point
        self.fired.parent.mkdir()
        self.marks = Marks(home.path / "marks")
        self.armed = {
            "QUEUECTL_FAILPOINTS": f"{point}={action}@{at}",
            "QUEUECTL_FAILPOINTS_DIR": str(self.fired.parent),
        }
        self.keeper = Keeper(home)
        self.ask = self.keeper.ask
        self._gate_path = home.path / "gate"
        os.mkfifo(self._gate_path)
        self._gate = os.open(self._gate_path, os.O_RDWR | os.O_CLOEXEC)
        self.jobs: list[Marked] = []

    def close(self) -> None:
        """Give back the gate."""
        os.close(self._gate)

    def enqueue(self, *jobs: Marked, **keys: Any) -> None:
        """Store jobs, whatever it takes."""
        for job in jobs:
            self.ask("enqueue", **job.spec, **keys, request=str(uuid.uuid4()))
            self.jobs.append(job)

    def gated(self, name: str = "gated", **keys: Any) -> Marked:
        """A job that goes on when the gate is opened."""
        return self.marks.job(name, meanwhile=f"read line < {self._gate_path}", **keys)

    def open_gate(self) -> None:
        """Let every run through, now and later."""
        os.write(self._gate, b"go\n" * 100)

    def has_begun(self, job: Marked) -> bool:
        """Whether a run has left its first mark."""
        return "s" in self.marks.text(job.id)

    def runs_gated(self) -> Marked:
        """A job that has begun, has been announced, and waits at the gate."""
        job = self.gated()
        self.enqueue(job)
        eventually(lambda: self.has_begun(job))
        return job

    def workers(self) -> list[dict[str, Any]]:
        """The workers as the daemon tells of them."""
        found: list[dict[str, Any]] = self.ask("worker.list")["workers"]
        return found

    def wait(self) -> None:
        """Until every job has ended."""
        assert self.ask("job.wait", ids=[job.id for job in self.jobs], timeout=DEADLINE_S)["done"]


@pytest.fixture
def stage(home: Home, request: pytest.FixtureRequest) -> Iterator[Stage]:
    made = Stage(home, *request.param)
    try:
        yield made
    finally:
        made.close()


def ordinary(stage: Stage) -> None:
    """Short jobs, failing ones, one with much output, one that lasts: all of it with the point armed from the start."""
    stage.keeper.env = stage.armed
    with stage.keeper:
        stage.ask("worker.scale", count=WORKERS)
        stage.ask("config.set", key="log_max_bytes", value=BIG_LIMIT)
        job = stage.marks.job
        stage.enqueue(job("short"), job("failing", exit_code=3), job("big", big=True))
        stage.enqueue(job("lasting", meanwhile="sleep 0.25"), job("final", exit_code=1))
        finish(stage)


def batch(stage: Stage) -> None:
    """Jobs in a batch: abandoned when the daemon dies before the commit, whole after it."""
    stage.keeper.env = stage.armed
    with stage.keeper:
        stage.ask("worker.scale", count=WORKERS)
        jobs = [stage.marks.job(f"b{n}") for n in range(4)]
        request = str(uuid.uuid4())

        def added() -> bool:
            try:
                with Client(autostart=False, environ=stage.home.env) as client:
                    token = client.call("batch.open", defaults={})["token"]
                    for some in (jobs[:2], jobs[2:]):
                        client.call("batch.add", token=token, jobs=[one.spec for one in some])
                    client.call("batch.commit", token=token, request=request)
            except (ConnectionLost, DaemonUnreachable):
                return False
            return True

        eventually(added, deadline=DEADLINE_S)
        stage.jobs += jobs
        finish(stage)


def cancelled(stage: Stage) -> None:
    """A running job that ignores TERM is cancelled: whoever dies meanwhile, it is gone in the end."""
    stage.keeper.env = stage.armed
    with stage.keeper:
        stage.ask("worker.scale", count=WORKERS)
        stage.ask("enqueue", id="stubborn", command="trap '' TERM; echo $$ >&2; while :; do sleep 5; done", kill_grace=0.2)
        eventually(lambda: stage.ask("job.get", id="stubborn")["state"] == "processing")
        eventually(lambda: job_processes(stage.home, "stubborn"))
        eventually(lambda: cancel(stage))
        assert stage.ask("job.get", id="stubborn")["state"] == "cancelled"
        eventually(lambda: not job_processes(stage.home, "stubborn"), deadline=DEADLINE_S)
        finish(stage)
        assert stage.ask("job.get", id="stubborn")["state"] == "cancelled"


def cancel(stage: Stage) -> bool:
    try:
        stage.ask("job.cancel", ids=["stubborn"])
    except WrongState as error:  # the answer of the first time was lost with the daemon
        return "is cancelled" in error.message
    return True


def while_the_daemon_is_gone(stage: Stage) -> None:
    """A job ends while there is no daemon; its worker spools, and tells the next one."""
    stage.keeper.env = stage.armed
    with stage.keeper:
        stage.ask("worker.scale", count=WORKERS)
        job = stage.runs_gated()
        stage.keeper.end(stay_down=True)
        stage.open_gate()
        spooled = stage.home.state / "spool"
        eventually(lambda: stage.fired.exists() or any(not f.name.endswith(".reserve") for f in spooled.iterdir()))
        stage.keeper.start()
        stage.enqueue(stage.marks.job("after"))
        assert job in stage.jobs
        finish(stage)


def daemon_comes_back(stage: Stage) -> None:
    """The daemon is killed with a job running, and the next one at a step of its start."""
    with stage.keeper:
        stage.ask("worker.scale", count=WORKERS)
        stage.runs_gated()
        stage.keeper.env = stage.armed
        stage.keeper.end()
        eventually(stage.fired.exists, deadline=DEADLINE_S)
        stage.open_gate()
        finish(stage)


def daemon_ends(stage: Stage) -> None:
    """The daemon is told to end with a job running, and killed at a step of its end."""
    stage.keeper.env = stage.armed
    with stage.keeper:
        stage.ask("worker.scale", count=WORKERS)
        stage.runs_gated()
        assert stage.keeper.end(signal.SIGTERM) == -signal.SIGKILL
        stage.open_gate()
        finish(stage)


def worker_dies(stage: Stage) -> None:
    """A worker is killed with its job, and the daemon while it settles what is left."""
    stage.keeper.env = stage.armed
    with stage.keeper:
        stage.ask("worker.scale", count=WORKERS)
        job = stage.runs_gated()
        busy = [worker for worker in stage.workers() if worker["job"] == job.id]
        os.kill(busy[0]["pid"], signal.SIGKILL)
        eventually(stage.fired.exists, deadline=DEADLINE_S)
        stage.open_gate()
        finish(stage)
        assert stage.ask("job.get", id=job.id)["crashes"] == 1


def finish(stage: Stage) -> None:
    """Everything ends, and everything is as it must be."""
    if stage.jobs:
        stage.wait()
    assert stage.fired.exists(), "the scenario never got to the point"
    wrong = []
    for job in stage.jobs:
        told = stage.ask("job.get", id=job.id)
        wrong += stage.marks.faults(job, told, output(stage, job.id))
    assert wrong == [], "\n".join(wrong)
    if not stage.fired.name.startswith(("worker.", "spool.", "recovery.")):
        # The daemon alone was killed, so no job may have noticed. (A claim that was given back has used up a number.)
        texts = {job.id: stage.marks.text(job.id) for job in stage.jobs}
        assert [each for each in texts.items() if not re.fullmatch(r"s (\d)\ne \1\n", each[1])] == []
    counts = stage.ask("status")["counts"]
    assert counts["processing"] == counts["pending"] == counts["failed"] == 0
    eventually(lambda: all_workers_are_known(stage), message="workers")
    eventually(lambda: nothing_is_left_over(stage), message="files")


def output(stage: Stage, job: str) -> bytes:
    """All of what the last run of a job has written."""
    data, at = b"", 0
    while True:
        page = stage.ask("job.logs", id=job, offset=at)
        data += page["data"]
        at = page["next"]
        if page["eof"] or not page["data"]:
            return data


def all_workers_are_known(stage: Stage) -> bool:
    """The pool has its size again, and no process but those is a worker of this home."""
    told = [worker["pid"] for worker in stage.workers()]
    assert len(told) == WORKERS, told
    assert sorted(told) == sorted(worker_processes(stage.home))
    return True


def nothing_is_left_over(stage: Stage) -> bool:
    """Files of dead workers, and outcomes that were stored, are gone."""
    known = {worker["id"].removeprefix("w") for worker in stage.workers()}
    assert {file.name.removesuffix(".reserve") for file in (stage.home.state / "spool").iterdir()} <= known
    assert {file.name.split("-")[1].split(".")[0] for file in stage.home.state.glob("worker-*.state")} <= known
    assert {file.name.split("-")[1].split(".")[0] for file in stage.home.logs.glob("worker-*")} <= known
    return True


def worker_processes(home: Home) -> list[int]:
    return [pid for pid in processes_of(home.path) if b"queuectld.workers.worker" in proc(pid, "cmdline")]


def job_processes(home: Home, job: str) -> list[int]:
    return [pid for pid in processes_of(home.path) if b"QUEUECTL_JOB_ID=" + job.encode() in proc(pid, "environ").split(b"\0")]


def proc(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


SCENARIOS: dict[str, Callable[[Stage], None]] = {
    **dict.fromkeys(FAILPOINTS, ordinary),
    "batch.added": batch,
    "batch.committed": batch,
    "store.checkpointed": daemon_ends,
    "cancel.committed": cancelled,
    "worker.ladder": cancelled,
    "spool.written": while_the_daemon_is_gone,
    "spool.kept": while_the_daemon_is_gone,
    "worker.connected": while_the_daemon_is_gone,
    "recovery.ended": worker_dies,
    "recovery.settled": worker_dies,
    "recovery.forgotten": worker_dies,
    "daemon.opened": daemon_comes_back,
    "daemon.recovered": daemon_comes_back,
    "daemon.serving": daemon_comes_back,
    "daemon.answered": daemon_ends,
    "daemon.closing": daemon_ends,
}
HITS = {"store.begun": (4,), "store.written": (1, 5, 9), "store.committed": (3, 6, 8), "worker.connected": (2,)}
CASES = [(point, "kill", at) for point in FAILPOINTS for at in HITS.get(point, (1,))]


@pytest.mark.parametrize("stage", CASES, ids=lambda case: f"{case[0]}-{case[2]}", indirect=True)
def test_a_kill_at_this_step_loses_nothing(stage: Stage) -> None:
    SCENARIOS[stage.fired.name](stage)


def test_every_failpoint_is_reached_at_one_place() -> None:
    calls = [
        node.args[0].value
        for path in (ROOT / "queuectld").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "failpoints.reached"
        if isinstance(node.args[0], ast.Constant)
    ]
    assert sorted(calls) == sorted(FAILPOINTS)
