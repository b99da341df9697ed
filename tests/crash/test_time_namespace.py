"""The boot clock jumps over a restart of the daemon, as in a time namespace: nobody is taken for dead, nothing is due.

Only who may make namespaces sees a jump here; for others these are two restarts (tests/unit/test_boot.py has the rest).
"""

import os
import signal
import stat
import sys
from pathlib import Path

import pytest

from tests.crash.stage import DEADLINE_S, Stage
from tests.support.eventually import eventually
from tests.support.programs import may_mount

AN_HOUR = 3600


def python_ahead(folder: Path, seconds: int) -> str:
    """A python whose boot clock and monotonic clock are so much ahead, where we may have that."""
    if not may_mount():
        return sys.executable
    path = folder / f"python-{seconds}"
    ahead = f"unshare --time --boottime {seconds} --monotonic {seconds}"
    path.write_text(f'#!/bin/sh\nexec {ahead} {sys.executable} "$@"\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@pytest.mark.parametrize("seconds", [1000, 2 * AN_HOUR])
def test_workers_and_their_jobs_are_taken_back_though_the_boot_clock_has_jumped(
    stage: Stage, tmp_path: Path, seconds: int
) -> None:
    """There and back: the first daemon is shown the machine's own clock, the second is ahead, the third is not."""
    with stage.restarter:
        workers = {worker["pid"] for worker in stage.scale(2)}
        jobs = [stage.run_gated(f"gated-{n}") for n in range(2)]
        stage.ask("enqueue", id="later", command="true", delay=AN_HOUR)
        for python in (python_ahead(tmp_path, seconds), sys.executable):
            stage.restarter.end(stay_down=True)
            stage.restarter.python = python
            stage.restarter.start()
            stage.restarter.daemon()
            eventually(lambda: {one["state"] for one in stage.workers()} == {"busy"}, deadline=DEADLINE_S)
            assert {one["pid"] for one in stage.workers()} == workers
            assert stage.job("later")["state"] == "pending"
        stage.open_gate()
        assert stage.ask("job.wait", ids=[job.id for job in jobs], timeout=DEADLINE_S)["done"]
        assert [stage.marks.text(job.id) for job in jobs] == ["s 1\ne 1\n"] * 2
        assert [stage.job(job.id)["crashes"] for job in jobs] == [0, 0]
        assert stage.job("later")["attempts_list"] == []


def test_what_a_worker_left_is_ended_though_the_boot_clock_has_jumped(stage: Stage, tmp_path: Path) -> None:
    """The worker that its record names is dead, and the job's processes live on."""
    with stage.restarter:
        stage.scale(1)
        job = stage.run_gated()
        before = set(stage.processes(job.id))
        worker = stage.worker_of(job.id)
        stage.restarter.end(stay_down=True)
        os.kill(worker, signal.SIGKILL)
        stage.restarter.python = python_ahead(tmp_path, 1000)
        stage.restarter.start()
        eventually(lambda: stage.marks.text(job.id).count("s") == 2, deadline=DEADLINE_S)
        assert not before & set(stage.processes(job.id))
        stage.open_gate()
        stage.finish(workers=1)
        assert stage.job(job.id)["crashes"] == 1
