"""How a daemon starts: one of many, over what an earlier one left, or not at all and in words."""

import os
import resource
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from queuectl_client import Client
from queuectld import __version__
from tests.support.daemon import Home, terminate
from tests.support.eventually import eventually

SERVE = [sys.executable, "-m", "queuectld", "serve"]


def serve(home: Home, *args: str, **options: Any) -> "subprocess.CompletedProcess[str]":
    """Run a daemon that is expected to end by itself."""
    settings: dict[str, Any] = {"env": home.env, "capture_output": True, "text": True, "timeout": 60, "check": False}
    return subprocess.run([*SERVE, *args], **(settings | options))


def client(home: Home, **options: Any) -> Client:
    """A client of this home that starts nothing."""
    return Client(autostart=False, environ=home.env, **options)


def ask(home: Home, method: str, **params: Any) -> Any:
    """One call on a connection of its own."""
    with client(home) as connection:
        return connection.call(method, **params)


def test_of_twenty_daemons_one_serves_and_none_complains(home: Home) -> None:
    candidates = [
        subprocess.Popen(SERVE, env=home.env, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for _ in range(20)
    ]
    try:
        eventually(lambda: sum(candidate.poll() is not None for candidate in candidates) == 19, deadline=60)
        (daemon,) = [candidate for candidate in candidates if candidate.poll() is None]
        assert ask(home, "daemon.info")["pid"] == daemon.pid == home.daemon_pid()
        for candidate in candidates:
            if candidate is not daemon:
                assert candidate.returncode == 0
                assert candidate.stderr is not None
                assert candidate.stderr.read().startswith(f"queuectld: already running (process {daemon.pid})")
        assert terminate(daemon) == 0
    finally:
        for candidate in candidates:
            candidate.kill()
            candidate.wait()
            assert candidate.stderr is not None
            candidate.stderr.close()


def test_everything_is_private_whatever_the_umask(home: Home) -> None:
    before = os.umask(0)
    try:
        home.start_daemon()
        ask(home, "enqueue", command="true")
    finally:
        os.umask(before)
    for folder, _, files in os.walk(home.path):
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700, folder
        for name in files:
            if name != "test-daemon.log":
                path = Path(folder, name)
                assert stat.S_IMODE(os.lstat(path).st_mode) == 0o600, path


def test_a_killed_daemon_leaves_nothing_in_the_way_of_the_next(home: Home) -> None:
    for _ in range(3):
        daemon = home.start_daemon()
        ask(home, "enqueue", command="true")
        daemon.kill()
        daemon.wait()
        assert home.socket.exists()
    home.start_daemon()
    assert ask(home, "status")["counts"]["pending"] == 3


def test_a_daemon_that_ended_leaves_no_socket_and_an_empty_lock(home: Home) -> None:
    daemon = home.start_daemon()
    assert home.daemon_pid() == daemon.pid
    assert terminate(daemon) == 0
    assert not home.socket.exists()
    assert home.lock.read_text() == ""


def test_a_path_of_more_than_107_bytes_works(home: Home) -> None:
    socket = home.path / ("d" * 100) / ("e" * 100) / "q.sock"
    home.start_daemon("--socket", str(socket))
    with Client(str(socket), autostart=False, environ=home.env) as connection:
        assert connection.call("daemon.info")["socket"] == str(socket)


def test_a_second_daemon_at_another_socket_is_refused_in_words(home: Home) -> None:
    daemon = home.start_daemon()
    done = serve(home, "--socket", str(home.path / "other.sock"))
    assert done.returncode == 1
    assert f"a daemon with this store is already running (process {daemon.pid}) at {home.socket}" in done.stderr


def test_what_lies_at_the_sockets_path_is_left_alone(home: Home) -> None:
    home.socket.write_text("mine")
    done = serve(home)
    assert done.returncode == 1
    assert f"cannot listen at {home.socket}: it exists and is not a socket" in done.stderr
    assert "Traceback" not in done.stderr
    assert home.socket.read_text() == "mine"


def test_a_foreign_store_is_refused_and_stays_as_it_is(home: Home) -> None:
    with sqlite3.connect(home.store) as database:
        database.execute("CREATE TABLE theirs (x)")
    database.close()
    home.store.chmod(0o600)
    before = home.store.read_bytes()
    reading, writing = os.pipe()
    done = serve(home, "--ready-fd", str(writing), pass_fds=[writing])
    os.close(writing)
    assert done.returncode == 1
    assert os.read(reading, 4096).startswith(b"error: ")
    os.close(reading)
    assert str(home.store) in done.stderr
    assert "Traceback" not in done.stderr
    assert home.store.read_bytes() == before
    assert not home.socket.exists()
    home.store.unlink()
    home.start_daemon()


def test_bad_settings_are_refused_by_name(home: Home) -> None:
    (home.path / "queuectl.toml").write_text("log_lvel = 'debug'")
    done = serve(home)
    assert done.returncode == 1
    assert "queuectl.toml: unknown key log_lvel; did you mean log_level?" in done.stderr


def test_settings_name_the_socket_and_the_lock_tells_clients(home: Home) -> None:
    (home.path / "queuectl.toml").write_text(f"socket = '{home.path}/elsewhere.sock'\nmax_connections = 2\n")
    home.start_daemon()
    assert home.json("status")["counts"]["pending"] == 0
    assert not home.socket.exists()


def test_the_version_is_told() -> None:
    done = subprocess.run([sys.executable, "-m", "queuectld", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"queuectld {__version__}\n"


def test_an_autostarted_daemon_logs_to_its_file_and_leaves_its_starter(home: Home) -> None:
    daemon = home.start_daemon("--autostarted")
    log = home.logs / "queuectld.log"
    eventually(lambda: "serving at" in log.read_text())
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert os.readlink(f"/proc/{daemon.pid}/cwd") == "/"
    assert os.readlink(f"/proc/{daemon.pid}/fd/0") == "/dev/null"
    assert os.readlink(f"/proc/{daemon.pid}/fd/2") == str(log)
    assert os.getsid(daemon.pid) == daemon.pid


def test_descriptors_are_plenty_for_the_daemon_and_as_before_for_jobs(home: Home) -> None:
    def modest() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 4096))

    daemon = subprocess.Popen(SERVE, env=home.env, preexec_fn=modest, stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: home.lock.exists() and home.lock.read_text())
        assert resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE) == (4096, 4096)
        with client(home) as connection:
            job = connection.call("enqueue", command="ulimit -Sn; ulimit -Hn")
            connection.call("worker.start", count=1)
            connection.call("job.wait", ids=[job["id"]])
            assert connection.call("job.logs", id=job["id"])["data"] == b"256\n4096\n"
    finally:
        daemon.terminate()
        daemon.wait()


@pytest.mark.parametrize("variable", ["NOTIFY_SOCKET", "LISTEN_FDS", "QUEUECTL_SECRET"])
def test_jobs_inherit_nothing_of_the_daemons_environment(home: Home, variable: str) -> None:
    home.start_daemon(env={variable: "/nowhere"})
    with client(home) as connection:
        job = connection.call("enqueue", command=f"echo ${{{variable}-unset}}")
        connection.call("worker.start", count=1)
        connection.call("job.wait", ids=[job["id"]])
        assert connection.call("job.logs", id=job["id"])["data"] == b"unset\n"
