"""A daemon that is stopped (SIGSTOP) or hangs: whoever asks or waits is told within the client's time."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from queuectl_client import Client
from queuectl_client.errors import DaemonUnreachable
from tests.support.daemon import Daemon, Home
from tests.support.eventually import eventually

DEADLINE_S = 30

IMPATIENT = """
import sys
from queuectl_client import connection, session
session.SIGN_OF_LIFE_S = 0.3
connection.Connection.__init__.__kwdefaults__["timeout"] = 0.5
from queuectl_client.cli.main import main
main()
"""


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("queuectl_client.session.SIGN_OF_LIFE_S", 0.3)


def client(home: Home, timeout: float = 0.5) -> Client:
    """An impatient client of this home that starts nothing."""
    return Client(autostart=False, environ=home.env, timeout=timeout)


@contextmanager
def stopped(daemon: Daemon) -> Iterator[None]:
    """Within, the daemon does nothing at all."""
    daemon.send_signal(signal.SIGSTOP)
    eventually(lambda: Path(f"/proc/{daemon.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
    try:
        yield
    finally:
        daemon.send_signal(signal.SIGCONT)


def impatient(home: Home, *words: str) -> "subprocess.Popen[str]":
    """`queuectl WORDS` with less patience than it usually has."""
    return subprocess.Popen(
        [sys.executable, "-c", IMPATIENT, *words],
        env=home.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_a_wait_without_end_ends_when_the_daemon_is_stopped_and_finds_the_job_later(home: Home) -> None:
    daemon = home.start_daemon()
    with client(home) as asking, client(home, timeout=DEADLINE_S) as patient:
        job = patient.enqueue("sleep 1000")
        with stopped(daemon), pytest.raises(DaemonUnreachable, match="gave no answer within") as caught:
            asking.wait(job.id)
        assert caught.value.exit_code == 3
        patient.cancel(job.id)
        assert patient.wait(job.id)[0].state == "cancelled"


def test_a_wait_outlasts_many_signs_of_life(home: Home) -> None:
    home.start_daemon()
    with client(home, timeout=DEADLINE_S) as asking, client(home, timeout=DEADLINE_S) as other:
        asking.worker_start()
        job = other.enqueue(f"while [ ! -e {home.path}/gate ]; do sleep 0.05; done")
        other.enqueue(f"sleep 1.5; touch {home.path}/gate")
        other.worker_start()
        assert asking.wait(job.id)[0].exit_code == 0
        assert asking._session._last > 5, "it asked for signs of life"


@pytest.mark.parametrize(
    "words",
    [["wait", "job_1"], ["logs", "-f", "job_1"], ["events", "--follow"], ["status"], ["list"], ["worker", "stop"]],
    ids=" ".join,
)
def test_every_verb_says_that_the_daemon_is_silent(home: Home, words: list[str]) -> None:
    daemon = home.start_daemon()
    with client(home, timeout=DEADLINE_S) as asking:
        asking.worker_start()
        asking.enqueue(f"touch {home.path}/began; exec sleep 1000")
        eventually((home.path / "began").exists)
        waiting = impatient(home, *words) if words[-1] in ("job_1", "--follow") else None
        if waiting is not None:
            eventually(lambda: os.listdir(f"/proc/{waiting.pid}/fd") and is_connected(waiting.pid))
        with stopped(daemon):
            done = waiting or impatient(home, *words)
            _, said = done.communicate(timeout=DEADLINE_S)
        assert done.returncode == 3, said
        assert "gave no answer within" in said


def is_connected(pid: int) -> bool:
    """Whether the process has a socket open."""
    links = [f"/proc/{pid}/fd/{name}" for name in os.listdir(f"/proc/{pid}/fd")]
    return any(os.readlink(link).startswith("socket:") for link in links if os.path.lexists(link))


def test_a_foreground_pool_says_so_and_stays(home: Home) -> None:
    daemon = home.start_daemon()
    pool = impatient(home, "worker", "start")
    assert pool.stderr is not None
    assert pool.stdout is not None
    assert pool.stderr.readline().startswith("Started 1 worker")
    try:
        for job in ("job_1", "job_2"):
            home.ok("enqueue", "true")
            assert pool.stdout.readline() == f"[Worker 1] Processing job {job}\n"
            assert pool.stdout.readline() == "[Worker 1] Job completed\n"
            with stopped(daemon):
                assert "gave no answer within 0.5 s; its workers keep running" in pool.stderr.readline()
        pool.send_signal(signal.SIGTERM)
        assert pool.wait(DEADLINE_S) == 0
    finally:
        pool.kill()
        pool.communicate()
