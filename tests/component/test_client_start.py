"""How a client starts a daemon where there is none, with stand-ins for the daemon."""

import os
import socket
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from queuectl_client import Client, autostart, errors
from queuectl_client.paths import Paths, resolve
from queuectl_client.returning import wait_for_daemon
from tests.support.eventually import eventually
from tests.support.fakeserver import FakeServer

NOTHING_SAID = "the daemon ended before it was ready"


@pytest.fixture
def places(tmp_path: Path) -> dict[str, str]:
    return {"QUEUECTL_HOME": str(tmp_path / "home")}


@pytest.fixture
def paths(places: dict[str, str]) -> Paths:
    return resolve(places)


@pytest.fixture
def candidate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator["Candidate"]:
    """In the place of `python -P -m queuectld serve …`."""
    made = Candidate(tmp_path)
    monkeypatch.setattr(sys, "executable", str(made.program))
    yield made
    made.server.stop()


class Candidate:
    """A shell script that notes how it was started, says what a test wants, and a server that listens by then."""

    def __init__(self, folder: Path) -> None:
        self.program = folder / "python"
        self.notes = folder / "notes"
        self.server = FakeServer(folder / "home" / "queuectl.sock")
        self.answers("ready")

    def answers(self, said: str, *, more: str = "") -> None:
        self.program.write_text(
            "#!/bin/bash\n"
            f'{{ echo "$*"; pwd; umask; ps -o sid= -p $$; echo $$; readlink /proc/self/fd/0; }} >> {self.notes}\n'
            f"echo to the log\n{more}\n"
            f'[ -z "{said}" ] || eval "echo \'{said}\' >&${{@: -1}}"\n'
        )
        self.program.chmod(0o700)


def listen_on_start(candidate: Candidate, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server begins to listen when the candidate is started."""
    spawn = autostart._spawn

    def start(paths: Paths, environment: dict[str, str], told: int, **options: bool) -> None:
        candidate.server.path.parent.mkdir(mode=0o700, exist_ok=True)
        candidate.server.path.unlink(missing_ok=True)
        candidate.server.start()
        spawn(paths, environment, told, **options)

    monkeypatch.setattr(autostart, "_spawn", start)


def status(*where: str, **options: Any) -> dict[str, Any]:
    with Client(*where, **options) as client:
        return client.status()


def test_a_daemon_is_started_detached_and_said_to_be(
    candidate: Candidate, places: dict[str, str], paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    listen_on_start(candidate, monkeypatch)
    said: list[str] = []
    with Client(environ=places, notice=said.append) as client:
        assert client.status() == {}
        assert client.status() == {}
    assert said == ["Started the queuectl daemon."]
    command, cwd, umask, session, pid, stdin = candidate.notes.read_text().splitlines()
    assert command.startswith("-P -m queuectld serve --autostarted --ready-fd ")
    assert (cwd, umask, session.strip(), stdin) == ("/", "0077", pid, "/dev/null")


def test_a_daemon_that_another_client_started_is_not_said_to_be_ours(
    candidate: Candidate, places: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate.answers("running")
    listen_on_start(candidate, monkeypatch)
    said: list[str] = []
    with Client(environ=places, notice=said.append) as client:
        assert client.status() == {}
    assert said == []


def test_what_is_made_for_the_daemon_is_private(
    candidate: Candidate, places: dict[str, str], paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    listen_on_start(candidate, monkeypatch)
    previous = os.umask(0)
    try:
        status(environ=places)
    finally:
        os.umask(previous)
    assert stat.S_IMODE(os.stat(paths.logs).st_mode) == 0o700
    assert stat.S_IMODE(os.stat(paths.daemon_log).st_mode) == 0o600
    eventually(lambda: Path(paths.daemon_log).read_text() == "to the log\n")


def test_the_folders_above_are_private_as_well(tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        autostart._make_private(str(tmp_path / "a" / "b"))
    finally:
        os.umask(previous)
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in (tmp_path / "a", tmp_path / "a" / "b")] == [0o700] * 2


def test_the_daemons_own_words_are_told_when_it_cannot_run(candidate: Candidate, places: dict[str, str]) -> None:
    candidate.answers("error: the store /x is not a queuectl store")
    with pytest.raises(errors.DaemonUnreachable, match="cannot run: the store /x is not a queuectl store"):
        Client(environ=places).status()


def test_a_daemon_that_dies_names_its_log(candidate: Candidate, places: dict[str, str], paths: Paths) -> None:
    candidate.answers("")
    with pytest.raises(errors.DaemonUnreachable, match=NOTHING_SAID) as caught:
        Client(environ=places).status()
    assert paths.daemon_log in str(caught.value)


def test_a_daemon_that_hangs_is_not_awaited_for_ever(
    candidate: Candidate, places: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    candidate.answers("", more=f"read < {fifo}")
    monkeypatch.setattr(autostart, "START_WITHIN_S", 0.3)
    with pytest.raises(errors.DaemonUnreachable, match="not ready within"):
        Client(environ=places).status()
    with open(fifo, "w") as end:
        end.write("\n")


def test_a_ready_daemon_that_is_gone_again_is_started_again(
    candidate: Candidate, places: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    listen_on_start(candidate, monkeypatch)
    spawn = autostart._spawn

    def lose_the_first(paths: Paths, environment: dict[str, str], told: int, **options: bool) -> None:
        spawn(paths, environment, told, **options)
        started.append("daemon")
        if len(started) == 1:
            candidate.server.stop()

    monkeypatch.setattr(autostart, "_spawn", lose_the_first)
    assert status(environ=places) == {}
    assert len(started) == 2


def test_the_daemon_is_told_which_socket_was_named(
    candidate: Candidate, places: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate.answers("ready", more=f'echo "$QUEUECTL_SOCKET" > {tmp_path}/named')
    candidate.server = FakeServer(tmp_path / "home" / "mine.sock")
    listen_on_start(candidate, monkeypatch)
    assert status(str(candidate.server.path), environ=places) == {}
    assert (tmp_path / "named").read_text().strip() == str(candidate.server.path)


@pytest.mark.parametrize(
    "options, environ",
    [({"autostart": False}, {}), ({}, {"QUEUECTL_NO_AUTOSTART": "1"})],
    ids=["option", "environment"],
)
def test_no_daemon_is_started_where_that_is_forbidden(
    candidate: Candidate, places: dict[str, str], options: dict[str, bool], environ: dict[str, str]
) -> None:
    with pytest.raises(errors.NoDaemon, match="daemon start"):
        Client(environ=places | environ, **options).status()
    assert not candidate.notes.exists()


def test_from_inside_a_job_the_daemon_is_awaited_and_not_started(
    candidate: Candidate, places: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(autostart, "RETURN_WITHIN_S", 0.05)
    with pytest.raises(errors.NoDaemon):
        Client(environ=places | {"QUEUECTL_JOB_ID": "job_1"}).status()
    assert not candidate.notes.exists()


def test_a_daemon_that_comes_back_is_noticed_at_once(paths: Paths) -> None:
    home = Path(paths.socket).parent
    home.mkdir()
    server = FakeServer(Path(paths.socket))

    def restore_pools() -> None:
        server.start()
        # A real daemon writes its lock once it listens, for between bind and listen nobody can connect.
        Path(paths.lock).write_text(f'{{"pid": 1, "socket": "{paths.socket}", "version": "1"}}\n')

    thread = threading.Timer(0.1, restore_pools)
    thread.start()
    try:
        with wait_for_daemon(paths, 20) as connection:
            assert connection.getpeername() == paths.socket
    finally:
        thread.join()
        server.stop()


def test_a_socket_that_is_there_before_it_listens_is_not_missed(paths: Paths) -> None:
    Path(paths.socket).parent.mkdir()
    lock = Path(paths.lock)
    lock.write_text("\n")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(paths.socket)

        def restore_pools() -> None:
            listener.listen()
            lock.write_text(f'{{"pid": 1, "socket": "{paths.socket}", "version": "1"}}\n')

        thread = threading.Timer(0.1, restore_pools)
        thread.start()
        try:
            wait_for_daemon(paths, 20).close()
        finally:
            thread.join()


def test_waiting_leaves_no_descriptor_open(paths: Paths) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(errors.NoDaemon):
        wait_for_daemon(paths, 0)
    with pytest.raises(errors.NoDaemon):
        Client(environ={"QUEUECTL_HOME": str(Path(paths.store).parent)}, autostart=False).status()
    assert len(os.listdir("/proc/self/fd")) == before
