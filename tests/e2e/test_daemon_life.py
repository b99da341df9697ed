"""How a daemon lives and ends: under a service manager, told to stop, without its socket or without descriptors."""

import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from queuectl_client import Client
from queuectl_client.errors import QueuectlError
from queuectl_client.protocol import rpc
from queuectld.server.socketfile import is_answered
from tests.support.daemon import Home, terminate
from tests.support.eventually import eventually

DEADLINE_S = 20


def client(home: Home) -> Client:
    """A client of this home that starts nothing."""
    return Client(autostart=False, environ=home.env)


def ask(home: Home, method: str, **params: Any) -> Any:
    """One call on a connection of its own."""
    with client(home) as connection:
        return connection.call(method, **params)


class Adder(threading.Thread):
    """Enqueues until it is cut off, and keeps the ids it was answered."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self.ids: list[str] = []
        self._path = str(path)

    def run(self) -> None:
        """Pipelines 20 calls at a time over a raw socket: nothing here repeats or reconnects."""
        decoder = rpc.Decoder()
        with socket.socket(socket.AF_UNIX) as link:
            link.connect(self._path)
            while True:
                try:
                    link.sendall(b"".join(rpc.request(n, "enqueue", {"command": "true"}) for n in range(20)))
                    while data := link.recv(1 << 16):
                        answers = list(decoder.feed(data))
                        self.ids += [answer.result["id"] for answer in answers]  # type: ignore[union-attr]
                        if len(self.ids) % 20 == 0:
                            break
                    else:
                        return
                except ConnectionError:
                    return


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_end_under_load_it_exits_0_and_all_that_was_answered_is_stored(home: Home, number: int) -> None:
    daemon = home.start_daemon()
    adders = [Adder(home.socket) for _ in range(4)]
    for adder in adders:
        adder.start()
    eventually(lambda: all(len(adder.ids) > 100 for adder in adders))
    daemon.send_signal(number)
    assert daemon.wait(timeout=DEADLINE_S) == 0
    for adder in adders:
        adder.join(DEADLINE_S)
        assert not adder.is_alive()
    home.start_daemon()
    answered = {name for adder in adders for name in adder.ids}
    stored = {job["id"] for job in home.json("list")}
    assert len(answered) > 400
    assert answered <= stored


def test_a_stopped_reader_does_not_keep_an_ending_daemon(home: Home) -> None:
    daemon = home.start_daemon()
    with client(home) as connection:
        connection.call("enqueue", command="true", stdin="", name="x" * 1000, labels={"a": "y" * 1000})
        with socket.socket(socket.AF_UNIX) as link:
            link.connect(str(home.socket))
            link.setblocking(False)
            try:
                while True:
                    link.send(rpc.request(1, "list"))
            except BlockingIOError:
                pass
            assert terminate(daemon, DEADLINE_S) == 0


def test_a_client_can_end_it_and_is_answered(home: Home) -> None:
    daemon = home.start_daemon()
    with client(home) as connection:
        connection.call("worker.start", count=1, detach=True)
        assert connection.call("daemon.shutdown") == {"left": []}
    assert daemon.wait(timeout=DEADLINE_S) == 0


def test_a_lost_socket_is_bound_again_and_found_by_new_clients(home: Home) -> None:
    home.start_daemon()
    with client(home) as before:
        before.call("status")
        for _ in range(3):
            home.socket.unlink()
            # Between bind(2) and listen(2) the file is there, and nobody listens yet.
            eventually(lambda: home.socket.exists() and is_answered(home.socket))
            assert ask(home, "status")["workers"] == 0
        before.call("status")
    assert home.ok("status").startswith("Pending: 0\n")


def test_a_candidate_asks_a_daemon_without_a_socket_to_look_after_it(home: Home) -> None:
    path = home.path / "run" / "mine" / "q.sock"
    daemon = home.start_daemon("--socket", str(path))
    # Neither the socket nor its folder hears of this, so nobody tells the daemon.
    (home.path / "run").rename(home.path / "elsewhere")
    again = subprocess.run(
        [sys.executable, "-m", "queuectld"], env=home.env, capture_output=True, text=True, timeout=60, check=False
    )
    assert again.returncode == 0
    assert f"already running (process {daemon.pid}) at {path}" in again.stderr
    assert ask(home, "daemon.info")["pid"] == daemon.pid


def test_a_folder_that_was_moved_away_is_made_again(home: Home) -> None:
    path = home.path / "run" / "q.sock"
    home.start_daemon("--socket", str(path))
    path.parent.rename(home.path / "elsewhere")
    eventually(path.exists)
    assert ask(home, "status")["workers"] == 0


def test_out_of_descriptors_it_serves_who_is_there_and_recovers_by_itself(home: Home) -> None:
    daemon = home.start_daemon()
    with client(home) as connection:
        connection.call("status")
        limits = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
        used = len(os.listdir(f"/proc/{daemon.pid}/fd"))
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (used + 2, limits[1]))
        waiting = [socket.socket(socket.AF_UNIX) for _ in range(8)]
        try:
            for number, link in enumerate(waiting):
                link.settimeout(DEADLINE_S)
                link.connect(str(home.socket))
                link.send(rpc.request(number, "status"))
            eventually(lambda: "cannot accept a client: Too many open files" in home.daemon_log())
            assert connection.call("enqueue", command="true")["id"] == "job_1"
            resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, limits)
            for number, link in enumerate(waiting):
                (answer,) = rpc.Decoder().feed(link.recv(1 << 16))
                assert isinstance(answer, rpc.Response)
                assert answer.msgid == number
        finally:
            for link in waiting:
                link.close()


@pytest.fixture
def manager(home: Home) -> Iterator[socket.socket]:
    """A stand-in for the service manager's NOTIFY_SOCKET."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.settimeout(DEADLINE_S)
        listening.bind(str(home.path / "notify"))
        yield listening


def test_the_service_manager_hears_ready_then_beats_then_stopping(home: Home, manager: socket.socket) -> None:
    daemon = home.start_daemon(env={"NOTIFY_SOCKET": str(home.path / "notify"), "WATCHDOG_USEC": "100000"})
    first = manager.recv(4096).decode().splitlines()
    assert first == ["READY=1", f"STATUS=Serving at {home.socket}"]
    assert [manager.recv(4096) for _ in range(3)] == [b"WATCHDOG=1"] * 3
    daemon.terminate()
    while (heard := manager.recv(4096)) == b"WATCHDOG=1":
        pass
    assert heard == b"STOPPING=1"
    assert daemon.wait(timeout=DEADLINE_S) == 0


ACTIVATED = """
import os, socket, sys
listening = socket.socket(socket.AF_UNIX)
listening.bind(sys.argv[1])
listening.listen()
os.dup2(listening.fileno(), 3)
os.set_inheritable(3, True)
os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid()), "LISTEN_FDNAMES": "queuectld.socket"}
os.execv(sys.executable, [sys.executable, "-m", "queuectld"])
"""


def test_a_socket_handed_over_is_served_and_left_where_it_is(home: Home) -> None:
    path = home.path / "activated.sock"
    daemon = subprocess.Popen(
        [sys.executable, "-c", ACTIVATED, str(path)], env=home.env, cwd=Path(__file__).parents[2], close_fds=False
    )
    try:
        eventually(lambda: home.lock.exists() and home.lock.read_text())
        assert ask(home, "daemon.info")["socket"] == str(path)
        assert not home.socket.exists()
        assert home.json("status")["workers"] == 0
        daemon.terminate()
        assert daemon.wait(timeout=DEADLINE_S) == 0
        assert path.exists(), "the service manager's socket is not ours to remove"
    finally:
        daemon.kill()
        daemon.wait()


def test_a_descriptor_that_is_no_listening_socket_is_refused_in_words(home: Home) -> None:
    code = ACTIVATED.replace("listening.listen()\n", "")
    done = subprocess.run(
        [sys.executable, "-c", code, str(home.path / "x.sock")],
        env=home.env,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "descriptor 3 of LISTEN_FDS is not a listening Unix stream socket" in done.stderr


def test_the_log_holds_no_values_and_no_commands(home: Home) -> None:
    home.start_daemon()
    with client(home) as connection:
        connection.call(
            "enqueue", command="echo geheim-1", environment={"TOKEN": "geheim-2"}, env={"OTHER": "geheim-3"}
        )
        with pytest.raises(QueuectlError):
            connection.call("enqueue", command="echo geheim-4", timeot=1)
    log = home.daemon_log()
    assert "serving at" in log
    assert "geheim" not in log


def stopping(home: Home) -> bool:
    return bool(home.json("daemon", "status")["stopping"])


def running_job(home: Home) -> Path:
    """A job that runs until the file that is returned is there."""
    gate = home.path / "gate"
    os.mkfifo(gate)
    home.ok("worker", "start", "-d")
    home.ok("enqueue", f"read -r _ < {gate}; echo done")
    eventually(lambda: home.states() == {"job_1": "processing"}, message="it does not run")
    return gate


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_goes_on_when_its_client_is_interrupted(home: Home, number: int) -> None:
    daemon = home.start_daemon()
    gate = running_job(home)
    stop = home.popen("daemon", "stop")
    eventually(lambda: stopping(home), message="it does not stop")
    stop.send_signal(number)
    said = stop.communicate(timeout=DEADLINE_S)[1]
    if number == signal.SIGINT:
        assert stop.returncode == 130
        assert "The daemon stops when its jobs have ended" in said
    assert "when its jobs have ended" in home.ok("daemon", "status")
    refused = home.cli("worker", "start", "-d")
    assert refused.returncode == 5
    assert "the daemon is stopping and starts no workers" in refused.stderr
    gate.write_text("go\n")
    assert daemon.wait(timeout=DEADLINE_S) == 0
    home.start_daemon()
    assert home.states() == {"job_1": "completed"}


def test_a_start_cancels_a_stop_and_the_workers_are_back(home: Home) -> None:
    daemon = home.start_daemon()
    gate = running_job(home)
    stop = home.popen("daemon", "stop")
    eventually(lambda: stopping(home), message="it does not stop")
    assert "The daemon was stopping; the stop is cancelled" in home.cli("daemon", "start").stderr
    assert "started again" in stop.communicate(timeout=DEADLINE_S)[1]
    assert stop.returncode == 5
    home.ok("run", "true")
    assert home.states() == {"job_1": "processing", "job_2": "completed"}
    gate.write_text("go\n")
    home.ok("wait", "job_1")
    assert [worker["pool"]["kind"] for worker in home.json("worker", "list")] == ["detached"]
    assert daemon.poll() is None


def test_a_start_has_a_draining_daemon_start_jobs_again(home: Home) -> None:
    home.start_daemon()
    home.ok("daemon", "drain")
    assert "The daemon was draining" in home.cli("daemon", "start").stderr
    home.ok("run", "true")
