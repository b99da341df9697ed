"""Processes of a job that are hard to see are ended before it runs again: it never runs twice at once."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.stage import DEADLINE_S, Stage
from tests.support import hidden
from tests.support.eventually import eventually

KILL = signal.SIGKILL


class Hiding:
    """A job that hides a process, and says when one of an earlier run still holds the lock that each of them holds."""

    def __init__(self, folder: Path, gate: Path) -> None:
        self.pids, self.overlap, self._lock, self._gate = folder / "pids", folder / "overlap", folder / "lock", gate

    @property
    def _begin(self) -> str:
        return f"exec 9>>{self._lock}; flock --nonblock 9 || echo $QUEUECTL_RUN >> {self.overlap}"

    def beside(self, kind: str) -> str:
        """It waits at the gate beside the process, whose parent is gone: the worker has taken its place."""
        return f"{self._begin}; ({hidden.command(kind, self.pids)} &); read line < {self._gate}"

    def alone(self, kind: str) -> str:
        """It is the process itself, which waits at the gate."""
        return f"{self._begin}; exec {hidden.command(kind, self.pids, self._gate)}"

    def noted(self, count: int) -> list[int]:
        """The pids, once so many runs have got that far."""

        def found() -> list[int]:
            pids = self.pids.read_text().split() if self.pids.exists() else []
            return [int(pid) for pid in pids] if len(pids) == count else []

        pids: list[int] = eventually(found, deadline=DEADLINE_S)
        return pids


@pytest.fixture
def hiding(stage: Stage, tmp_path: Path) -> Iterator[Hiding]:
    made = Hiding(tmp_path, stage.home.path / "gate")
    try:
        yield made
    finally:
        hidden.end(made.pids)


def runs_twice_but_never_at_once(stage: Stage, hiding: Hiding, command: str, prey: str) -> None:
    with stage.restarter:
        stage.scale(1)
        stage.ask("enqueue", id="hides", command=command, max_retries=1, kill_grace=0.2)
        hiding.noted(1)
        worker, daemon = stage.worker_of("hides"), stage.restarter.daemon()
        leaders = stage.processes("hides")
        for name in prey.split(", "):
            for pid in {"worker": [worker], "daemon": [daemon.pid], "leader": leaders}[name]:
                os.kill(pid, KILL)
        hiding.noted(2)
        assert not hiding.overlap.exists(), "a process of the first run lived when the second began"
        stage.open_gate()
        assert stage.ask("job.wait", ids=["hides"], timeout=DEADLINE_S)["done"]
        told = stage.job("hides")
        assert (told["state"], told["crashes"], told["runs"]) == ("completed", 1, 2)
        stage.finish(workers=1)


@pytest.mark.parametrize("prey", ["worker", "worker, leader", "daemon, worker"])
@pytest.mark.parametrize("kind", hidden.KINDS)
def test_a_hidden_process_of_a_killed_workers_job_is_ended_before_its_second_run(
    stage: Stage, hiding: Hiding, kind: str, prey: str
) -> None:
    runs_twice_but_never_at_once(stage, hiding, hiding.beside(kind), prey)


@pytest.mark.parametrize("prey", ["worker", "daemon, worker"])
@pytest.mark.parametrize("kind", ["threads", "undumpable"])
def test_a_job_that_is_hidden_itself_is_ended_before_its_second_run(
    stage: Stage, hiding: Hiding, kind: str, prey: str
) -> None:
    runs_twice_but_never_at_once(stage, hiding, hiding.alone(kind), prey)


def test_a_daemon_that_a_job_has_started_and_its_workers_do_not_end_with_that_job(stage: Stage) -> None:
    """They have the job's environment, as `queuectl daemon restart` in it gives it to them."""
    stage.restarter.env = {"QUEUECTL_JOB_ID": "gated", "QUEUECTL_RUN": "1", "QUEUECTL_SOCKET": str(stage.home.socket)}
    with stage.restarter:
        workers, daemon = {worker["pid"] for worker in stage.scale(2)}, stage.restarter.daemon().pid
        job = stage.run_gated()
        worker = stage.worker_of(job.id)
        os.kill(worker, KILL)
        eventually(lambda: stage.marks.text(job.id).count("s") == 2, deadline=DEADLINE_S)
        stage.open_gate()
        stage.finish(workers=2)
        assert workers - {worker} <= {one["pid"] for one in stage.workers()}
        assert stage.restarter.daemon().pid == daemon
        assert stage.job(job.id)["crashes"] == 1
