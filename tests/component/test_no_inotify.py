"""No inotify instance or watch is left for us: slower, said once, and nothing is missed for good."""

import asyncio
import ctypes
import errno
import logging
import os
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from queuectl_client import aioconnection, returning
from queuectl_client.aio import AsyncClient
from queuectl_client.paths import Paths, resolve
from queuectl_client.returning import wait_for_daemon
from queuectld.server import filewatch
from queuectld.server.filewatch import FileWatch
from tests.support.daemon import QUEUECTL, Home
from tests.support.eventually import eventually
from tests.support.fakeserver import FakeServer
from tests.support.programs import needs

REAL = ctypes.CDLL(None, use_errno=True)


class Short:
    """The C library on a machine where one of its calls fails so many times."""

    def __init__(self, call: str, error: int, times: int = 1_000_000) -> None:
        self._call = call
        self._error = error
        self._times = times

    def __call__(self, *_: object, **__: object) -> "Short":
        return self

    def __getattr__(self, name: str) -> Any:
        if name != self._call:
            return getattr(REAL, name)
        return self._fail

    def _fail(self, *arguments: Any) -> int:
        if not self._times:
            return int(getattr(REAL, self._call)(*arguments))
        self._times -= 1
        ctypes.set_errno(self._error)
        return -1


SHORTAGES = [("inotify_init1", errno.EMFILE), ("inotify_init1", errno.ENOMEM), ("inotify_add_watch", errno.ENOSPC)]


@pytest.mark.parametrize(("call", "error"), SHORTAGES)
def test_a_removed_file_is_noticed_by_a_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, call: str, error: int
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", Short(call, error))
    monkeypatch.setattr(filewatch, "FIRST_CHECK_S", 0.01)
    path = tmp_path / "file"
    path.touch()

    async def scene() -> None:
        noticed = asyncio.Event()
        files = FileWatch(asyncio.get_running_loop(), lambda: path.exists() or noticed.set())
        for watched in (path, tmp_path):
            files.add(watched)
        path.unlink()
        await asyncio.wait_for(noticed.wait(), 20)
        files.close()

    asyncio.run(scene())
    said = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(said) == 1
    assert os.strerror(error) in said[0].getMessage()


@pytest.mark.parametrize(("call", "error"), SHORTAGES)
def test_the_kernel_tells_again_once_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, error: int
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", Short(call, error, times=3))
    monkeypatch.setattr(filewatch, "FIRST_CHECK_S", 0.01)
    path = tmp_path / "file"
    path.touch()

    async def scene() -> None:
        looked = asyncio.Event()
        files = FileWatch(asyncio.get_running_loop(), looked.set)
        files.add(path)
        while not files.has_inotify:
            looked.clear()
            await asyncio.wait_for(looked.wait(), 20)
        looked.clear()
        path.unlink()
        await asyncio.wait_for(looked.wait(), 20)
        files.close()

    asyncio.run(scene())


@pytest.mark.parametrize(("call", "error"), SHORTAGES)
def test_a_client_looks_for_its_daemon_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, error: int
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", Short(call, error))
    paths: Paths = resolve({"QUEUECTL_HOME": str(tmp_path / "home")})
    Path(paths.socket).parent.mkdir(exist_ok=True)
    server = FakeServer(Path(paths.socket))
    monkeypatch.setattr(returning, "_has_said", False)
    said: list[str] = []
    thread = threading.Timer(0.3, server.start)
    thread.start()
    try:
        wait_for_daemon(paths, 20, said.append).close()
    finally:
        thread.join()
        server.stop()
    assert len(said) == 1
    assert os.strerror(error) in said[0]


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


@needs("strace")
def test_a_wait_and_a_follower_go_on_over_a_restart_of_the_daemon(home: Home) -> None:
    before = home.start_daemon()
    home.ok("enqueue", "--id", "one", "echo done")
    alone = descriptors(before.pid)
    none = ("strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=inotify_init1:error=EMFILE", QUEUECTL)
    clients = [
        subprocess.Popen([*none, *verb, "one"], env=home.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for verb in (["wait"], ["follow"])
    ]
    try:
        eventually(lambda: descriptors(before.pid) >= alone + 2, deadline=20, message="both are connected")
        before.kill()
        before.wait()
        home.start_daemon()
        home.ok("worker", "start", "-d")
        for client, expected in zip(clients, ("one completed\n", "done\n"), strict=True):
            out, said = client.communicate(timeout=60)
            assert (client.returncode, out) == (0, expected), said
            assert said.count("cannot be watched (") == 1
    finally:
        for client in clients:
            client.kill()
            client.wait()


def test_an_async_client_does_without_a_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def none_left(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(aioconnection.asyncio, "to_thread", none_left)

    async def scene() -> None:
        async with AsyncClient(str(tmp_path / "q.sock"), autostart=False) as client:
            await client.call("ping")

    with FakeServer(tmp_path / "q.sock", ping=lambda _: None) as server:
        asyncio.run(scene())
        assert server.methods() == ["ping"]
