"""What lies on the disk belongs to its user alone, whatever the umask, and a log is read from nothing but a log."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from queuectl_client import Client
from queuectl_client.errors import QueuectlError
from tests.support.daemon import Home
from tests.support.eventually import eventually

DEADLINE_S = 30
BIG = 200_000
"""More bytes of output than stay in memory or in the row."""
NOT_OURS = frozenset({"test-daemon.log", "made-by-the-job"})


def client(home: Home) -> Client:
    """A client of this home that starts nothing."""
    return Client(autostart=False, environ=home.env)


def too_open(home: Home) -> list[str]:
    """What others may read, write or enter."""
    found = []
    for folder, _, files in os.walk(home.path):
        for path in [Path(folder), *(Path(folder, name) for name in files if name not in NOT_OURS)]:
            wanted = 0o700 if path.is_dir() else 0o600
            if (mode := stat.S_IMODE(path.lstat().st_mode)) != wanted:
                found.append(f"{path} {mode:o}")
    return found


def test_everything_is_private_in_every_moment_of_a_jobs_life(home: Home) -> None:
    gate, mark = home.path / "gate", home.path / "mark"
    before = os.umask(0)
    try:
        home.ok("worker", "start", "-d")
        with client(home) as asking:
            job = asking.enqueue(
                f"head -c {BIG} /dev/zero; touch made-by-the-job; umask > {mark}; "
                f"while [ ! -e {gate} ]; do sleep 0.05; done",
                cwd=str(home.path),
                umask=0,
                split_output=True,
            )
            eventually(mark.exists, DEADLINE_S)
            home.ok("logs", job.id)
            assert too_open(home) == [str(mark) + " 666"], "while it runs"
            os.kill(home.daemon_pid(), 9)
            gate.touch(0o600)
            eventually(lambda: any((home.state / "spool").glob("1.1.*")), DEADLINE_S, "its outcome is spooled")
            assert too_open(home) == [str(mark) + " 666"], "while nobody listens"
        home.ok("daemon", "start")
        home.ok("wait", job.id)
        home.ok("enqueue", "-f", "-", input="true\n" * 20_000)
        home.ok("backup", str(home.path / "copy.db"))
        home.ok("daemon", "stop", "--now")
        assert too_open(home) == [str(mark) + " 666"], "afterwards"
        assert (home.path / "made-by-the-job").stat().st_mode & 0o777 == 0o666, "the job's own umask is its own"
        assert mark.read_text() == "0000\n"
    finally:
        os.umask(before)


def _link(log: Path, secret: Path) -> None:
    log.symlink_to(secret)


def _fifo(log: Path, _secret: Path) -> None:
    os.mkfifo(log)


def _folder(log: Path, _secret: Path) -> None:
    log.mkdir()


@pytest.mark.parametrize("put", [_link, _fifo, _folder], ids=["a link", "a FIFO", "a folder"])
def test_logs_are_read_from_regular_files_alone(home: Home, put: Callable[[Path, Path], None]) -> None:
    secret = home.path / "secret"
    secret.write_text("geheim " * BIG)
    home.start_daemon()
    with client(home) as asking:
        asking.worker_start()
        job = asking.enqueue(f"head -c {BIG} /dev/zero").wait(DEADLINE_S)
        (log,) = home.logs.glob("*/1.1.*.log")
        log.unlink()
        put(log, secret)
        with pytest.raises(QueuectlError, match=str(log)):
            asking.output(job.id)
        assert asking.status()["workers"] == 1


@pytest.mark.parametrize("name", ["logs/queuectld.log", "queuectld.lock", "start.lock"])
def test_the_daemon_follows_no_link_where_it_writes(home: Home, name: str) -> None:
    victim = home.path / "victim"
    victim.write_text("mine\n")
    path = home.path / name
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.symlink_to(victim)
    done = home.cli("status")
    assert done.returncode == 3
    assert str(path) in done.stderr
    assert victim.read_text() == "mine\n"
