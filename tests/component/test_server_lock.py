"""The daemon's lock, socket file and what a service manager hands over, each without a daemon around it."""

import asyncio
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from queuectld import lock, logs
from queuectld.config import FileSettings, SettingsRefused, read_settings
from queuectld.lock import DaemonLock, Holder, LockRefused
from queuectld.notify import Notifier, ReadyLine, adopted_sockets
from queuectld.server import socketfile
from queuectld.server.filewatch import FileWatch
from queuectld.server.socketfile import SocketRefused, bind, file_id, is_answered, unlink
from tests.support.eventually import eventually


@pytest.fixture
def place(home: object) -> Iterator[Path]:
    """A folder with a short path and the usual umask."""
    before = os.umask(0o022)
    try:
        yield home.path  # type: ignore[attr-defined]
    finally:
        os.umask(before)


def test_a_socket_is_private_from_its_first_moment_in_a_private_folder(place: Path) -> None:
    bound = bind(place / "deep" / "er" / "q.sock")
    with bound.listening:
        assert stat.S_IMODE(os.lstat(bound.path).st_mode) == 0o600
        assert stat.S_IMODE(os.stat(bound.path.parent).st_mode) == 0o700
        assert stat.S_IMODE(os.stat(bound.path.parent.parent).st_mode) == 0o700
        assert is_answered(bound.path)


def test_a_stale_socket_is_replaced(place: Path) -> None:
    first = bind(place / "q.sock")
    first.listening.close()
    assert not is_answered(first.path)
    second = bind(place / "q.sock")
    second.listening.close()


def test_only_ones_own_socket_is_removed(place: Path) -> None:
    first = bind(place / "q.sock")
    first.path.unlink()
    second = bind(place / "q.sock")
    with first.listening, second.listening:
        unlink(first)
        assert second.path.exists(), "a daemon that ends must not remove the socket of the next"
        unlink(second)
        assert not second.path.exists()


def test_a_socket_that_is_answered_is_not_replaced(place: Path) -> None:
    with bind(place / "q.sock").listening, pytest.raises(SocketRefused, match="another program listens at"):
        bind(place / "q.sock")


@pytest.mark.parametrize("kind", ["file", "folder", "symlink"])
def test_what_is_no_socket_is_left_alone(place: Path, kind: str) -> None:
    path = place / "q.sock"
    match kind:
        case "file":
            path.write_text("mine")
        case "folder":
            path.mkdir()
        case "symlink":
            path.symlink_to(place / "elsewhere")
    before = file_id(path)
    with pytest.raises(SocketRefused, match="it exists and is not a socket"):
        bind(path)
    assert file_id(path) == before


def test_a_folder_that_others_may_write_in_is_refused_with_the_way_out(place: Path) -> None:
    folder = place / "open"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(SocketRefused, match=f"chmod go-w {folder}"):
        bind(folder / "q.sock")


def test_a_long_path_works_and_a_long_name_is_refused_in_words(place: Path) -> None:
    deep = place / ("d" * 90) / ("e" * 90) / "q.sock"
    bound = bind(deep)
    with bound.listening:
        assert is_answered(deep)
    with pytest.raises(SocketRefused, match="socket name too long"):
        bind(place / ("n" * 200))


def test_a_read_only_folder_is_named(place: Path) -> None:
    with pytest.raises(SocketRefused, match="/proc/nowhere"):
        bind(Path("/proc/nowhere/q.sock"))


def test_removal_of_the_file_is_noticed(place: Path) -> None:
    async def scene() -> None:
        noticed = asyncio.Event()
        watch = FileWatch(asyncio.get_running_loop(), noticed.set)
        bound = bind(place / "q.sock")
        watch.add(bound.path)
        bound.path.unlink()
        await asyncio.wait_for(noticed.wait(), 20)
        watch.close()
        bound.listening.close()

    asyncio.run(scene())


def test_the_lock_names_the_daemon_and_is_empty_afterwards(place: Path) -> None:
    taken = lock.take(place / "start.lock", place / "q.lock")
    assert isinstance(taken, DaemonLock)
    taken.announce(place / ("a" * 50), "s")
    taken.announce(place / "b", "s")
    assert lock.holder_of(place / "q.lock") == Holder(os.getpid(), place / "b", "0.1.0")
    assert json.loads((place / "q.lock").read_text())["socket"] == str(place / "b")
    assert stat.S_IMODE(os.stat(place / "q.lock").st_mode) == 0o600
    taken.release()
    assert lock.holder_of(place / "q.lock") is None


HOLD = """
import sys
from pathlib import Path
from queuectld import lock
taken = lock.take(Path(sys.argv[1], "start.lock"), Path(sys.argv[1], "q.lock"))
taken.announce(Path(sys.argv[1], "q.sock"), "s")
print("held", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def holder(place: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that has the lock and answers nothing."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(place)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()
        process.wait()


def test_a_candidate_ends_when_the_daemon_answers(place: Path, holder: "subprocess.Popen[str]") -> None:
    with bind(place / "q.sock").listening:
        found = lock.take(place / "start.lock", place / "q.lock")
    assert isinstance(found, Holder)
    assert found.pid == holder.pid


def test_a_candidate_waits_for_a_daemon_that_ends(
    place: Path, holder: "subprocess.Popen[str]", monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def utime(path: Path) -> None:
        # The candidate has looked, and asks the holder to look after its socket. Now the holder dies.
        seen.append(path)
        holder.kill()

    monkeypatch.setattr(lock.os, "utime", utime)
    taken = lock.take(place / "start.lock", place / "q.lock")
    assert isinstance(taken, DaemonLock)
    assert seen
    taken.release()


def test_a_candidate_waits_as_long_as_another_takes_to_start(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be migrating a large store: nobody answers yet, but that is no reason to give up."""
    monkeypatch.setattr(lock, "PATIENCE_S", (0.1,))
    first = lock.take(place / "start.lock", place / "q.lock")
    assert isinstance(first, DaemonLock)
    found: list[DaemonLock | Holder | LockRefused] = []

    def candidate() -> None:
        try:
            found.append(lock.take(place / "start.lock", place / "q.lock"))
        except LockRefused as refused:
            found.append(refused)

    second = threading.Thread(target=candidate, daemon=True)
    second.start()
    waits = re.compile(rf"-> FLOCK.*:{(place / 'start.lock').stat().st_ino} ")
    eventually(lambda: found or waits.search(Path("/proc/locks").read_text()))
    with bind(place / "q.sock").listening:
        first.announce(place / "q.sock", "s")
        second.join(20)
    assert isinstance(found[0], Holder)
    first.release()


def test_a_daemon_that_never_answers_is_named(
    place: Path, holder: "subprocess.Popen[str]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "PATIENCE_S", (0.01, 0.02))
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(LockRefused, match=f"process {holder.pid} holds"):
        lock.take(place / "start.lock", place / "q.lock")
    assert signal.getsignal(signal.SIGALRM) is before


def test_a_removed_lock_file_is_not_mistaken_for_the_lock(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = lock._flock_within

    def removed_meanwhile(descriptor: int, seconds: float | None) -> bool:
        if removals:
            removals.pop().unlink()
        return real(descriptor, seconds)

    removals = [place / "q.lock"]
    monkeypatch.setattr(lock, "_flock_within", removed_meanwhile)
    taken = lock.take(place / "start.lock", place / "q.lock")
    assert isinstance(taken, DaemonLock)
    taken.announce(place / "q.sock", "s")
    assert lock.holder_of(place / "q.lock") is not None
    taken.release()


def test_locks_are_not_inherited(place: Path) -> None:
    taken = lock.take(place / "start.lock", place / "q.lock")
    assert isinstance(taken, DaemonLock)
    child = subprocess.Popen(
        [sys.executable, "-c", "import os, sys; print(os.listdir('/proc/self/fd'), flush=True); sys.stdin.read()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        close_fds=False,
        text=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    with child.stdin, child.stdout:
        child.stdout.readline()
        taken.release()
        again = lock.take(place / "start.lock", place / "q.lock")
        assert isinstance(again, DaemonLock)
        again.release()
        child.stdin.close()
        child.wait(timeout=20)


def test_a_service_manager_is_told_and_its_variables_are_taken_away(place: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(place / "notify"))
        manager.settimeout(20)
        environ = {"NOTIFY_SOCKET": str(place / "notify"), "WATCHDOG_USEC": "20000", "WATCHDOG_PID": str(os.getpid())}

        async def scene() -> list[bytes]:
            notifier = Notifier(environ)
            notifier.ready(asyncio.get_running_loop(), "here")
            heard = [await asyncio.to_thread(manager.recv, 4096) for _ in range(4)]
            notifier.stopping()
            notifier.close()
            return heard

        assert asyncio.run(scene()) == [b"READY=1\nSTATUS=here", b"WATCHDOG=1", b"WATCHDOG=1", b"WATCHDOG=1"]
        while (heard := manager.recv(4096)) == b"WATCHDOG=1":
            pass
        assert heard == b"STOPPING=1"
        assert environ == {}


def test_a_hung_loop_gives_no_beat(place: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(place / "notify"))

        async def scene() -> None:
            notifier = Notifier({"NOTIFY_SOCKET": str(place / "notify"), "WATCHDOG_USEC": "2000"})
            notifier.ready(asyncio.get_running_loop(), "here")
            assert [manager.recv(4096) for _ in range(2)] == [b"READY=1\nSTATUS=here", b"WATCHDOG=1"]
            manager.settimeout(0.2)
            with pytest.raises(TimeoutError):
                manager.recv(4096)  # this holds up the loop for a hundred beats
            notifier.close()

        asyncio.run(scene())


def test_without_a_service_manager_nothing_is_said() -> None:
    notifier = Notifier({"NOTIFY_SOCKET": "/nowhere/at/all"})
    notifier.stopping()
    Notifier({}).stopping()


def test_sockets_meant_for_another_process_are_not_adopted() -> None:
    environ = {"LISTEN_FDS": "1", "LISTEN_PID": "1", "LISTEN_FDNAMES": "x"}
    assert adopted_sockets(environ) == []
    assert environ == {}


def test_the_ready_line_says_one_line() -> None:
    reading, writing = os.pipe()
    ReadyLine(writing).error("two\nlines")
    assert os.read(reading, 100) == b"error: two lines\n"
    assert os.read(reading, 100) == b""
    os.close(reading)


def test_a_starter_that_has_gone_away_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    ReadyLine(writing).ready()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("log_leve = 'info'", "did you mean log_level"),
        ("log_level = 'loud'", "invalid log_level: 'loud'"),
        ("socket = 'relative'", "an absolute path"),
        ("max_connections = 0", "from 1 to 100000"),
        ("max_connections = true", "from 1 to 100000"),
        ("= what", "queuectl.toml"),
    ],
)
def test_bad_settings_are_refused_by_name(place: Path, text: str, words: str) -> None:
    (place / "queuectl.toml").write_text(text)
    with pytest.raises(SettingsRefused, match=words):
        read_settings(place / "queuectl.toml")


def test_settings_are_read(place: Path) -> None:
    assert read_settings(place / "queuectl.toml") == FileSettings()
    (place / "queuectl.toml").write_text("log_level = 'debug'\nsocket = '/run/q.sock'\nmax_connections = 5\n")
    assert read_settings(place / "queuectl.toml") == FileSettings("debug", Path("/run/q.sock"), 5)


def test_the_log_holds_no_control_characters() -> None:
    assert logs.escaped("a\x1b[2Jb\rc\x9bd\udc80é") == "a\\x1b[2Jb\\x0dc\\x9bd\\udc80é"


def test_the_descriptor_of_a_folder_is_not_leaked(place: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    bind(place / "q.sock").listening.close()
    is_answered(place / "q.sock")
    os.close(socketfile.open_private_folder(place))
    assert len(os.listdir("/proc/self/fd")) == before
