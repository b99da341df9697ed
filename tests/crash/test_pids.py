"""A pid names nobody by itself: strangers that have the pids of dead workers and jobs are never signalled."""

import os
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from queuectld.workerwire import procfs, statefile
from tests.crash.stage import Stage
from tests.support.eventually import eventually

ANOTHER_BOOT = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def strangers() -> Iterator[tuple["subprocess.Popen[bytes]", "subprocess.Popen[bytes]"]]:
    """Two processes that have nothing to do with any queue, each the leader of its own session."""
    made = [subprocess.Popen(["sleep", "1000"], start_new_session=True, env={}) for _ in range(2)]
    try:
        yield made[0], made[1]
    finally:
        for process in made:
            process.kill()
            process.wait()


@pytest.mark.parametrize("boot", ["this", "another"])
def test_a_stranger_with_the_pid_of_a_dead_worker_or_job_is_left_alone(
    stage: Stage, strangers: tuple["subprocess.Popen[bytes]", "subprocess.Popen[bytes]"], boot: str
) -> None:
    """In this boot the pids were used again, at another time; in another boot even the start times may be the same."""
    with stage.restarter:
        stage.scale(1)
        job = stage.run_gated()
        state = Path(statefile.path_of(str(stage.home.state), int(stage.workers()[0]["id"][1:])))
        worker, leaders = stage.worker_of(job.id), stage.processes(job.id)
        eventually(lambda: (statefile.read(str(state)) or {})["pid"] in leaders)
        stage.restarter.end(stay_down=True)
        for pid in (worker, *leaders):
            os.kill(pid, signal.SIGKILL)
        give_pids_to(stage, state, *(stranger.pid for stranger in strangers), boot=boot)
        stage.restarter.start()
        eventually(lambda: stage.marks.text(job.id).count("s") == 2, deadline=30)
        stage.open_gate()
        stage.finish(workers=1)
        assert stage.job(job.id)["crashes"] == 1
    assert [stranger.poll() for stranger in strangers] == [None, None]


def give_pids_to(stage: Stage, state: Path, worker: int, leader: int, *, boot: str) -> None:
    """Let what is written down of a dead worker and its job name these processes."""
    record = statefile.read(str(state))
    assert record is not None
    record |= {"pid": leader, "worker_pid": worker}
    store = sqlite3.connect(stage.home.store)
    with store:
        store.execute("UPDATE worker SET pid = ?", (worker,))
        if boot == "another":
            store.execute("UPDATE worker SET start_time = ?, boot_id = ?", (procfs.start_time(worker), ANOTHER_BOOT))
            record |= {
                "boot_id": ANOTHER_BOOT,
                "start_time": procfs.start_time(leader),
                "worker_start_time": procfs.start_time(worker),
            }
    store.close()
    descriptor = statefile.open_for_writing(str(state))
    statefile.write(descriptor, record)
    os.close(descriptor)
