"""The workers' own socket: who may speak there, what is said to it, and what becomes of workers of another version."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgpack
import pytest

from queuectl_client import Client
from queuectld.pool import link as links
from queuectld.pool.link import WorkerLink
from tests.support.daemon import Daemon, Home
from tests.support.eventually import eventually, eventually_async
from tests.support.wire import scene

DEADLINE_S = 30

RUBBISH = {
    "not MessagePack": b"\xc1",
    "a frame without keys": msgpack.packb(["hello", {}]),
    "a worker that is a list": msgpack.packb(["hello", {"worker": [1]}]),
    "an outcome before hello": msgpack.packb(["ended", {"seq": 1, "run": 1}]),
    "no frame": msgpack.packb({"a": 1}),
    "an ext type": b"\x92\xa5hello\x81\xa1a\xc7\x01\x05\x00",
    "an array of four thousand million": b"\x92\xa5hello\xdd\xff\xff\xff\xff",
    "16 million empty maps": b"\x92\xa5hello\xdd\x00\xf4\x24\x00" + b"\x80" * 16_000_000,
    "small arrays of empty maps": b"\x92\xa5hello\xdc\x0f\xff" + (b"\xdc\x0f\xff" + b"\x80" * 4095) * 4095,
    "32 MiB of text": b"\x92\xa5hello\xdb\x02\x00\x00\x00" + b"x" * (32 << 20),
}


def client(home: Home) -> Client:
    """A client of this home that starts nothing."""
    return Client(autostart=False, environ=home.env)


def memory_kib(pid: int) -> int:
    """What a process holds of the machine's memory, shared pages by their share (PSS)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def say(path: Path, data: bytes) -> bytes:
    """Send this and read until the other side closes; what it said."""
    with socket.socket(socket.AF_UNIX) as end:
        end.settimeout(DEADLINE_S)
        end.connect(str(path))
        said = b""
        try:
            end.sendall(data)
            while piece := end.recv(65536):
                said += piece
        except ConnectionError:
            pass  # it did not want to hear the rest
        return said


@pytest.mark.parametrize("kind", RUBBISH)
def test_rubbish_at_the_workers_socket_ends_that_connection_alone(home: Home, kind: str) -> None:
    daemon = home.start_daemon()
    with client(home) as asking:
        asking.worker_start()
        before = memory_kib(daemon.pid)
        assert say(home.state / "workers.sock", RUBBISH[kind]) == b""
        assert memory_kib(daemon.pid) - before < 16 * 1024, "what it did not want to hear takes no memory"
        assert asking.enqueue("exit 3", max_retries=0).wait(DEADLINE_S).exit_code == 3
        assert [one["id"] for one in asking.workers()] == ["w1"]


class Owner:
    """Notes what a link tells."""

    def __init__(self) -> None:
        self.kinds: list[str] = []
        self.lost_links = 0

    def frame(self, link: WorkerLink, kind: str, body: Mapping[str, Any]) -> None:
        self.kinds.append(kind)

    def lost(self, link: WorkerLink) -> None:
        self.lost_links += 1


@scene
async def test_who_says_nothing_at_the_workers_socket_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "HELLO_TIMEOUT_S", 0.2)
    owner = Owner()
    loop = asyncio.get_running_loop()
    async with await loop.create_unix_server(lambda: WorkerLink(owner), tmp_path / "w.sock"):
        silent, silent_end = await asyncio.open_unix_connection(tmp_path / "w.sock")
        _, worker_end = await asyncio.open_unix_connection(tmp_path / "w.sock")
        worker_end.write(msgpack.packb(["hello", {"worker": 1}]))
        assert await asyncio.wait_for(silent.read(), DEADLINE_S) == b""
        worker_end.write(msgpack.packb(["running", {}]))
        await eventually_async(lambda: owner.kinds == ["hello", "running"])
        assert owner.lost_links == 1
        silent_end.close()
        worker_end.close()
        await eventually_async(lambda: owner.lost_links == 2)


def test_the_workers_socket_is_bound_again_when_its_file_is_removed(home: Home) -> None:
    home.start_daemon()
    path = home.state / "workers.sock"
    with client(home) as asking:
        asking.worker_start()
        for _ in range(3):
            path.unlink()
            eventually(path.exists, message="the workers' socket")
            assert path.stat().st_mode & 0o777 == 0o600
            assert len(asking.worker_start()["workers"]) == 1
        assert len(asking.workers()) == 4
        assert asking.enqueue("true").wait(DEADLINE_S).exit_code == 0


def start_as(home: Home, patch: str) -> Daemon:
    """A daemon of which something is otherwise than in its workers."""
    code = f"import sys; {patch}; from queuectld.cli import main; sys.exit(main(['serve']))"
    with open(home.path / "test-daemon.log", "ab") as log:
        daemon = subprocess.Popen([sys.executable, "-c", code], env=home.env, stdin=subprocess.DEVNULL, stderr=log)
    eventually(lambda: home.lock.exists() and home.lock.read_text(), DEADLINE_S, "the daemon is not ready")
    return daemon


def gated(home: Home) -> tuple[str, Callable[[], None]]:
    """A job that has begun and goes on when the function is called: its id."""
    mark, gate = home.path / "mark", home.path / "gate"
    with client(home) as asking:
        asking.worker_start()
        job = asking.enqueue(f"echo s >> {mark}; while [ ! -e {gate} ]; do sleep 0.05; done; echo e >> {mark}; exit 7",
                             max_retries=0)  # fmt: skip
    eventually(mark.exists, message="the job does not run")
    return job.id, gate.touch


@pytest.mark.parametrize(
    "protocol, side",
    [(2, "it ends after its job, and one of this version takes its place"), (0, "queuectl daemon restart")],
    ids=["an older worker", "a newer worker"],
)
def test_a_worker_of_another_version_is_named_and_its_job_ends_once(home: Home, protocol: int, side: str) -> None:
    first = home.start_daemon()
    job, go_on = gated(home)
    (worker,) = home.json("worker", "list")
    first.kill()
    first.wait()
    second = start_as(home, f"import queuectld.pool.link as v; v.PROTOCOL = {protocol}")
    try:
        eventually(lambda: f"worker w1 (version 0.1.0) speaks protocol 1, this daemon {protocol}" in home.daemon_log())
        assert side in home.daemon_log()
        go_on()
        with client(home) as asking:
            done = asking.wait(job, timeout=DEADLINE_S)[0]
        assert (done.state, done.exit_code) == ("dead", 7)
        assert (home.path / "mark").read_text() == "s\ne\n"
        eventually(lambda: not os.path.exists(f"/proc/{worker['pid']}"), DEADLINE_S, "the old worker has ended")
        assert home.daemon_log().count("worker w1 (version") == 1, "once is enough"
    finally:
        second.kill()
        second.wait()


def test_a_worker_that_cannot_be_used_is_told_of_where_it_was_asked_for(home: Home) -> None:
    daemon = start_as(home, "import queuectld.pool.link as v; v.PROTOCOL = 2")
    try:
        done = home.cli("worker", "start", "-d")
        assert done.returncode == 1
        assert "speaks protocol 1, this daemon 2" in done.stderr
    finally:
        daemon.kill()
        daemon.wait()


def test_a_worker_that_the_store_does_not_know_finishes_its_job_and_ends(home: Home) -> None:
    first = home.start_daemon()
    _, go_on = gated(home)
    (worker,) = home.json("worker", "list")
    first.send_signal(signal.SIGKILL)
    first.wait()
    for file in home.path.glob("queuectl.db*"):
        file.unlink()
    home.start_daemon()
    eventually(lambda: "an unknown worker connected" in home.daemon_log(), DEADLINE_S)
    assert os.path.exists(f"/proc/{worker['pid']}"), "its job is not cut short"
    go_on()
    eventually(lambda: not os.path.exists(f"/proc/{worker['pid']}"), DEADLINE_S, "the worker has ended")
    assert (home.path / "mark").read_text() == "s\ne\n"
    assert home.states() == {}
