"""The daemon is ended, restarted, upgraded, removed, while jobs run and clients come."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import threading
import uuid
import venv
from pathlib import Path

import pytest

from queuectl_client import Client
from tests.crash.restarter import Restarter
from tests.crash.stage import DEADLINE_S, Stage
from tests.support.daemon import Home
from tests.support.eventually import eventually

RESTARTS = 20
CLIENTS = 20


class Submitter(threading.Thread):
    """A client that stores jobs one after the other until it is stopped, and repeats nothing itself."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(daemon=True)
        self._stage = stage
        self._over = threading.Event()
        self.error: BaseException | None = None

    def run(self) -> None:
        """Each job lasts a little, so that every restart meets some."""
        try:
            with Client(autostart=False, environ=self._stage.home.env) as client:
                while not self._over.wait(0.05):
                    job = self._stage.marks.job(f"job-{len(self._stage.jobs)}", meanwhile="sleep 0.1")
                    client.call("enqueue", **job.spec, request=str(uuid.uuid5(uuid.NAMESPACE_OID, job.id)))
                    self._stage.jobs.append(job)
        except BaseException as error:
            self.error = error

    def stop(self) -> None:
        """Wait for its last answer."""
        self._over.set()
        self.join(DEADLINE_S)
        assert not self.is_alive()
        if self.error is not None:
            raise self.error


@pytest.mark.timeout(400)  # twenty starts, each with a deadline of its own
def test_twenty_restarts_under_load_interrupt_no_job_and_no_client(stage: Stage) -> None:
    with stage.restarter:
        stage.scale(3)
        stage.run_gated()
        submitter = Submitter(stage)
        submitter.start()
        for _ in range(RESTARTS):
            stored = len(stage.jobs)
            eventually(lambda stored=stored: submitter.error or len(stage.jobs) > stored, deadline=DEADLINE_S)
            assert stage.restarter.end(signal.SIGTERM) == 0
        submitter.stop()
        stage.open_gate()
        stage.finish(workers=3)
    assert len(stage.jobs) > RESTARTS
    # No job was interrupted, so each has begun and ended once.
    assert [job.id for job in stage.jobs if stage.marks.text(job.id).count("s") != 1] == []
    assert stage.marks.text("gated") == "s 1\ne 1\n"


def test_twenty_clients_at_once_start_one_daemon(home: Home) -> None:
    clients = [home.popen("enqueue", "-q", f"echo {n}", env={"QUEUECTL_NO_AUTOSTART": "0"}) for n in range(CLIENTS)]
    said = [client.communicate(timeout=60) for client in clients]
    assert [client.returncode for client in clients] == [0] * CLIENTS, said
    assert len({out for out, _ in said}) == CLIENTS
    assert len(home.json("list")) == CLIENTS
    daemons = [entry for entry in Path("/proc").iterdir() if entry.name.isdecimal() and is_daemon_of(home, entry)]
    eventually(lambda: [int(entry.name) for entry in daemons if entry.exists()] == [home.daemon_pid()])


def is_daemon_of(home: Home, process: Path) -> bool:
    try:
        named = b"QUEUECTL_HOME=" + os.fsencode(home.path) in (process / "environ").read_bytes().split(b"\0")
        return named and b"queuectld" in (process / "cmdline").read_bytes()
    except OSError:
        return False


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The interpreter of an environment of its own, with the program and what it needs copied into it."""
    place = tmp_path / "venv"
    venv.create(place, with_pip=False, symlinks=True)
    [packages] = place.glob("lib/python3*/site-packages")
    for name in ("queuectld", "queuectl_client", "msgpack", "peewee", "playhouse", "platformdirs"):
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        origin = Path(spec.origin)
        if origin.name == "__init__.py":
            shutil.copytree(origin.parent, packages / name)
        else:
            shutil.copy2(origin, packages / origin.name)
    return place / "bin" / "python"


def test_removed_under_daemon_and_worker_jobs_still_end_and_are_recorded(stage: Stage, installed: Path) -> None:
    stage.restarter = Restarter(stage.home, python=str(installed))
    stage.ask = stage.restarter.ask
    with stage.restarter:
        stage.scale(2)
        big = stage.gated("big", big=True)
        stage.enqueue(big, stage.gated("failing", exit_code=3))
        eventually(lambda: all(stage.marks.text(job.id) for job in stage.jobs), deadline=DEADLINE_S)
        daemon = stage.restarter.daemon()
        assert Path(f"/proc/{daemon.pid}/cmdline").read_bytes().startswith(os.fsencode(installed))
        shutil.rmtree(installed.parents[1])
        stage.enqueue(stage.marks.job("later"), stage.marks.job("slow", meanwhile="sleep 1000"), timeout=1)
        stage.open_gate()
        [*others, slow] = stage.jobs
        stage.jobs = others
        assert stage.ask("job.wait", ids=[slow.id], timeout=DEADLINE_S)["done"]
        stage.finish(workers=2)
        assert stage.job(slow.id)["reason"].startswith("timeout")
        stage.restarter.python = sys.executable  # what is installed next
        assert stage.restarter.end(signal.SIGTERM) == 0
        stage.enqueue(stage.marks.job("after"))
        stage.finish(workers=2)
    assert {job.id: stage.marks.text(job.id) for job in stage.jobs} == {job.id: "s 1\ne 1\n" for job in stage.jobs}


def test_a_worker_that_cannot_start_is_told_of(home: Home, installed: Path) -> None:
    """Its package was removed, and no other put in its place."""
    with Restarter(home, python=str(installed)):
        shutil.rmtree(installed.parents[1])
        done: subprocess.CompletedProcess[str] = home.cli("worker", "start", "-d")
    assert done.returncode == 1
    assert "cannot start a worker" in done.stderr
