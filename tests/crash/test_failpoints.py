"""Daemon or worker is killed at every named step; restarted, every job ends once and whole, or says that it ran again.

Each failpoint has a scenario that reaches it. A point that is never reached in the code, or that its scenario does
not get to, fails here.
"""

import ast
import os
import re
import shutil
import signal
import sqlite3
import uuid
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

import pytest

from queuectl_client import Client
from queuectl_client.errors import ConnectionLost, DaemonUnreachable, QueuectlError, WrongState
from queuectld import failpoints
from queuectld.failpoints import FAILPOINTS
from tests.compat.make_golden_store import golden_path
from tests.crash.marks import BIG_LIMIT
from tests.crash.stage import DEADLINE_S, Stage
from tests.support.eventually import eventually

ROOT: Final = Path(__file__).parents[2]
WORKERS: Final = 2
Scenario = Callable[[Stage, Path], None]


def arm(stage: Stage, what: str) -> Path:
    """Have daemons that start from now on, and their workers, fail at a point; the file says that it happened."""
    fired = stage.home.path / "fired"
    fired.mkdir()
    stage.restarter.env = {"QUEUECTL_FAILPOINTS": what, "QUEUECTL_FAILPOINTS_DIR": str(fired)}
    return fired / what.partition("=")[0]


def ordinary(stage: Stage, _fired: Path) -> None:
    """Short jobs, failing ones, one with much output, one that lasts."""
    with stage.restarter:
        stage.scale(WORKERS)
        stage.ask("config.set", key="log_max_bytes", value=BIG_LIMIT)
        job = stage.marks.job
        stage.enqueue(job("short"), job("failing", exit_code=3), job("big", big=True))
        stage.enqueue(job("lasting", meanwhile="sleep 0.25"), job("final", exit_code=1))
        stage.finish(workers=WORKERS)


def batch(stage: Stage, _fired: Path) -> None:
    """Jobs in a batch: none of them where the daemon dies before the commit, all of them after it."""
    with stage.restarter:
        stage.scale(WORKERS)
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
        stage.finish(workers=WORKERS)


def with_very_many_parents(stage: Stage, _fired: Path) -> None:
    """A job waits for more others than are noted in one commit: it is there once, and runs after all of them."""
    with stage.restarter:
        stage.scale(WORKERS)
        held = [{"command": "true", "hold": True, "labels": {"g": "a"}, "environment": {}}] * 1_001
        stage.ask("enqueue_many", jobs=held, request=str(uuid.uuid4()))
        stage.enqueue(stage.marks.job("child"), depends_on=[{"id": "label:g=a", "on": "any"}])
        assert stage.job("child")["state"] == "blocked"
        assert len(stage.job("child")["depends_on"]) == 1_001
        cancel(stage, "label:g=a")
        stage.finish(workers=WORKERS)


def cancelled(stage: Stage, _fired: Path) -> None:
    """A running job that ignores TERM is cancelled: whoever dies meanwhile, it is gone in the end."""
    with stage.restarter:
        stage.scale(WORKERS)
        command = f"trap '' TERM; echo s > {stage.marks.folder}/stubborn; while :; do sleep 5; done"
        stage.ask("enqueue", id="stubborn", command=command, kill_grace=0.2)
        eventually(lambda: stage.marks.text("stubborn"), deadline=DEADLINE_S)
        cancel(stage, "stubborn")
        eventually(lambda: not stage.processes("stubborn"), deadline=DEADLINE_S)
        stage.finish(workers=WORKERS)
        assert stage.job("stubborn")["state"] == "cancelled"


def cancel(stage: Stage, job: str) -> None:
    with suppress(WrongState):  # it is cancelled already: the answer of the first time was lost with the daemon
        stage.ask("job.cancel", ids=[job])


def while_the_daemon_is_gone(stage: Stage, fired: Path) -> None:
    """A job ends while there is no daemon; its worker spools, and tells the next one."""
    with stage.restarter:
        stage.scale(WORKERS)
        stage.run_gated()
        stage.restarter.end(stay_down=True)
        stage.open_gate()
        spool = stage.home.state / "spool"
        eventually(lambda: fired.exists() or any(not file.name.endswith(".reserve") for file in spool.iterdir()))
        stage.restarter.start()
        stage.enqueue(stage.marks.job("after"))
        stage.finish(workers=WORKERS)


def daemon_comes_back(stage: Stage, fired: Path) -> None:
    """The daemon is killed with a job running, and the next one at a step of its start."""
    armed, stage.restarter.env = stage.restarter.env, {}
    with stage.restarter:
        stage.scale(WORKERS)
        stage.run_gated()
        stage.restarter.env = armed
        stage.restarter.end()
        eventually(fired.exists, deadline=DEADLINE_S)
        stage.open_gate()
        stage.finish(workers=WORKERS)


def daemon_ends(stage: Stage, _fired: Path) -> None:
    """The daemon is told to end with a job running, and killed at a step of its end."""
    with stage.restarter:
        stage.scale(WORKERS)
        stage.run_gated()
        assert stage.restarter.end(signal.SIGTERM) == -signal.SIGKILL
        stage.open_gate()
        stage.finish(workers=WORKERS)


def worker_dies(stage: Stage, fired: Path) -> None:
    """A worker is killed with its job, and the daemon while it settles what is left."""
    with stage.restarter:
        stage.scale(WORKERS)
        job = stage.run_gated()
        os.kill(stage.worker_of(job.id), signal.SIGKILL)
        eventually(fired.exists, deadline=DEADLINE_S)
        stage.open_gate()
        stage.finish(workers=WORKERS)
        assert stage.job(job.id)["crashes"] == 1


def worker_does_not_start(stage: Stage, fired: Path) -> None:
    """A new worker dies before it is up: whoever asked for it may hear so, and it is replaced."""
    with stage.restarter:
        with suppress(QueuectlError):
            stage.scale(WORKERS)
        eventually(fired.exists, deadline=DEADLINE_S)
        stage.enqueue(stage.marks.job("after"))
        stage.finish(workers=WORKERS)


def older_store(stage: Stage, fired: Path) -> None:
    """The daemon is killed while it copies an older store: the copy has its name only when it is whole."""
    stage.home.store.parent.mkdir(mode=0o700, exist_ok=True)
    shutil.copyfile(golden_path(2), stage.home.store)
    with stage.restarter:
        eventually(fired.exists, deadline=DEADLINE_S)
        stage.scale(WORKERS)
        stage.enqueue(stage.marks.job("after"))
        eventually(lambda: stage.job("after")["state"] == "completed", deadline=DEADLINE_S)
    names = sorted(file.name for file in stage.home.path.glob("queuectl.db.*"))
    assert names == ["queuectl.db.v2-1.backup"]
    with closing(sqlite3.connect(stage.home.path / names[0])) as backup:
        assert backup.execute("PRAGMA quick_check").fetchall() == [("ok",)]
        assert backup.execute("PRAGMA user_version").fetchone() == (2,)


SCENARIOS: Final[dict[str, Scenario]] = {
    "enqueue.parents": with_very_many_parents,
    "batch.added": batch,
    "batch.committed": batch,
    "store.checkpointed": daemon_ends,
    "store.copied": older_store,
    "cancel.committed": cancelled,
    "worker.ladder": cancelled,
    "spool.written": while_the_daemon_is_gone,
    "spool.kept": while_the_daemon_is_gone,
    "worker.started": worker_does_not_start,
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
"""What gets to a point that ordinary jobs do not get to."""
TIMES: Final = {"store.begun": (4,), "store.written": (1, 5, 9), "store.committed": (3, 6, 8), "worker.connected": (2,)}
"""Which time counts, where the first is not the one (or not the only one) of interest: of commits, some of the daemon's
start, of the workers' and of jobs; of a worker's hellos the second, to the next daemon."""
CASES: Final = [(point, at) for point in FAILPOINTS for at in TIMES.get(point, (1,))]
OF_WORKERS: Final = ("worker.", "spool.", "recovery.")
NOT_LOST: Final = ("worker.sent", "worker.acknowledged", "spool.kept")
"""Where the worker is killed, and what it had to tell is not lost with it."""


@pytest.mark.parametrize(("point", "at"), CASES, ids=[f"{point}-{at}" for point, at in CASES])
def test_a_kill_at_this_step_loses_nothing(stage: Stage, point: str, at: int) -> None:
    fired = arm(stage, f"{point}=kill@{at}")
    SCENARIOS.get(point, ordinary)(stage, fired)
    assert fired.exists(), "the scenario never got to the point"
    if not point.startswith(OF_WORKERS) or point in NOT_LOST:
        # The daemon alone was killed, or the worker when its word was out, so no job may have noticed.
        # (A claim that was given back has used up a number.)
        texts = {job.id: stage.marks.text(job.id) for job in stage.jobs}
        assert [each for each in texts.items() if not re.fullmatch(r"s (\d)\ne \1\n", each[1])] == []


def test_an_outcome_that_cannot_be_spooled_is_told_to_the_next_daemon(stage: Stage) -> None:
    fired = arm(stage, "spool.written=enospc")
    with stage.restarter:
        stage.scale(1)
        stage.run_gated()
        stage.restarter.end(stay_down=True)
        stage.open_gate()
        eventually(fired.exists, deadline=DEADLINE_S)
        stage.restarter.start()
        stage.finish(workers=1)
    assert stage.marks.text("gated") == "s 1\ne 1\n"


def test_jobs_do_not_inherit_failpoints(stage: Stage) -> None:
    arm(stage, "worker.ladder=kill")
    with stage.restarter:
        stage.scale(1)
        job = stage.run_gated()
        [pid, *_] = stage.processes(job.id)
        assert b"FAILPOINTS" not in Path(f"/proc/{pid}/environ").read_bytes()
        stage.open_gate()
        stage.finish(workers=1)


def test_every_failpoint_is_reached_at_one_place() -> None:
    calls = [
        node.args[0].value
        for path in (ROOT / "queuectld").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "failpoints.reached"
        if isinstance(node.args[0], ast.Constant)
    ]
    assert sorted(calls) == sorted(FAILPOINTS)


@pytest.mark.parametrize("text", ["worker.spwaned=kill", "worker.ended=die", "worker.ended", "worker.ended=kill@"])
def test_a_misspelt_failpoint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not point=action"):
        failpoints.parse(text)
