"""Clients that misbehave, against the real daemon: it bears them in little memory, and serves all others as before."""

import os
import random
import resource
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import repeat
from pathlib import Path
from typing import Any

import msgpack
import pytest

from queuectl_client import Client
from queuectl_client.errors import Busy
from queuectl_client.protocol import rpc
from tests.support.daemon import Daemon, Home
from tests.support.eventually import eventually
from tests.support.raw import (
    DEADLINE_S,
    all_that_comes,
    answers,
    connected,
    descriptors,
    memory_kib,
    send_as_much_as_goes,
)

CLIENTS = 1000
LITTLE_KIB = 24 * 1024
"""What one connection may cost at most for a while: two messages, or a few answers, of the largest kind."""
UNDER_WAY_KIB = 3 * 3 * 8 * 1024 + LITTLE_KIB
"""Three of the largest messages are under way or being read, each as bytes, as text and as a row."""

CALL = b"\x94\x00\x01\xa6status"
RUBBISH: dict[str, bytes] = {
    "not MessagePack": b"\xc1",
    "HTTP": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "TLS": bytes.fromhex("160301020001 0001fc0303".replace(" ", "")) + bytes(500),
    "a map": msgpack.packb({"a": 1}),
    "an unknown kind": b"\x94\x07\x01\xa1a\x90",
    "a method that is a number": b"\x94\x00\x01\x05\x90",
    "a msgid that is a float": b"\x94\x00\xca\x3f\x80\x00\x00\xa6status\x90",
    "1,000 levels": CALL + b"\x91" * 1000 + b"\xc0",
    "a million levels": CALL + b"\x91" * 1_000_000,
    "1 MB of empty maps": CALL + b"\xdd\x00\x0f\x42\x40" + b"\x80" * 1_000_000,
    "8 MB of empty maps in small lists": CALL + b"\xdc\x03\xe8" + (b"\xdc\x1f\x40" + b"\x80" * 8000) * 1000,
    "8 MB of small integers": CALL + b"\xdc\x00\x80" + (b"\xdc\xff\xff" + b"\x01" * 65535) * 128,
    "a list of four thousand million": CALL + b"\xdd\xff\xff\xff\xff" + b"\x80" * 1000,
    "a map of four thousand million": CALL + b"\xdf\xff\xff\xff\xff" + b"\x80" * 1000,
    "lists that each say they are long": CALL + b"\xdd\x00\x01\xff\xff" * 200_000,
    "an ext type": CALL + b"\x91\xc7\x01\x05\x00",
    "a time of msgpack": CALL + b"\x91\xd6\xff\x00\x00\x00\x00",
    "a map as a key": CALL + b"\x91\x81\x80\x01",
    "a message of 9 MB": CALL + b"\x91\xc6\x00\x90\x00\x00" + b"x" * 9_437_184,
}


def client(home: Home) -> Client:
    """A client of this home that starts nothing."""
    return Client(autostart=False, environ=home.env)


@contextmanager
def others_are_served(home: Home, room_kib: int = LITTLE_KIB) -> Iterator[Daemon]:
    """A client that was there before is served after, and so is one that comes anew, by a daemon no larger."""
    daemon = home.start_daemon()
    with client(home) as before:
        before.status()
        small = memory_kib(daemon.pid)
        yield daemon
        assert before.enqueue("true").id
        with client(home) as after:
            assert after.status()["counts"]["pending"] == before.status()["counts"]["pending"]
        assert memory_kib(daemon.pid) - small < room_kib
    assert daemon.poll() is None


@pytest.mark.parametrize("kind", RUBBISH)
def test_rubbish_is_answered_by_an_error_and_a_close(home: Home, kind: str) -> None:
    with others_are_served(home), connected(home.socket) as end:
        send_as_much_as_goes(end, iter([RUBBISH[kind]]))
        end.shutdown(socket.SHUT_WR)
        said = list(rpc.Decoder().feed(all_that_comes(end)))
        assert len(said) <= 1
        for answer in said:
            assert answer.error.split(": ")[0] in ("invalid_params", "too_large")
            assert len(answer.error) < 300


@pytest.mark.parametrize(
    "params", [[], [[]], [1], ["x"], [{}, {}], {}, None, "x", [None], [{"limit": {"a": []}}], [{"after": -1}]], ids=repr
)
def test_params_of_the_wrong_form_are_an_error_and_the_connection_stays(home: Home, params: Any) -> None:
    home.start_daemon()
    with connected(home.socket) as end:
        end.sendall(msgpack.packb([0, 1, "list", params]) + rpc.request(2, "status"))
        first, second = sorted(answers(end, 2), key=lambda answer: answer.msgid)
        assert (first.error or "invalid_params: ").startswith("invalid_params: ")
        assert second.result["workers"] == 0


def test_any_bytes_and_calls_with_any_values_are_borne(home: Home) -> None:
    dice = random.Random(11)
    values = [None, True, -1, 2**63, 0.5, "", "x" * 300, b"\xff", [], {}, [1, [2]], {"a": {"b": "c"}}, "\0", ["-"]]
    keys = ["id", "ids", "command", "jobs", "limit", "after", "state", "changes", "token", "value", "key", "offset"]
    methods = [method for method in rpc_methods() if method not in ("daemon.shutdown", "worker.start", "hello")]
    with others_are_served(home):
        for _ in range(60):
            with connected(home.socket) as end:
                end.sendall(dice.randbytes(dice.randrange(1, 2000)))
                end.shutdown(socket.SHUT_WR)
                all_that_comes(end)
        with connected(home.socket) as end:
            for number in range(1000):
                asked = {dice.choice(keys): dice.choice(values) for _ in range(3)}
                if "job.wait" in (method := dice.choice(methods)) or asked.get("wait"):
                    asked["timeout"] = 0
                end.sendall(rpc.request(number, method, asked))
                if method not in ("job.wait", "job.logs", "worker.stop"):
                    assert answers(end, 1)
        assert "Traceback" not in home.daemon_log()


def rpc_methods() -> list[str]:
    """Every method of the wire."""
    from queuectl_client.protocol.messages import REQUESTS

    return list(REQUESTS)


def test_a_thousand_silent_and_half_speaking_clients_disturb_nobody(home: Home) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard) if hard >= 0 else 4096, hard))
    try:
        with ExitStack() as stack:
            daemon = stack.enter_context(others_are_served(home, CLIENTS * 64))
            before = memory_kib(daemon.pid)
            crowd = [stack.enter_context(connected(home.socket)) for _ in range(CLIENTS - 3)]
            for end in crowd[::2]:
                end.sendall(rpc.request(1, "status")[:5])
            eventually(lambda: descriptors(daemon.pid) > CLIENTS - 3, message="they are all let in")
            with client(home) as asking:
                assert asking.enqueue("true").id
                assert asking.status()["counts"]["pending"] == 1
            assert memory_kib(daemon.pid) - before < CLIENTS * 64, "64 KiB for each"
            # Byte by byte, the rest of it.
            for byte in rpc.request(1, "status")[5:]:
                crowd[0].sendall(bytes([byte]))
            assert answers(crowd[0], 1)[0].result["workers"] == 0
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_half_messages_of_many_clients_are_bounded_together(home: Home) -> None:
    half = CALL + b"\x91\x81\xa1x\xc6\x00\x7f\xff\x00" + b"x" * 7_000_000
    with others_are_served(home) as daemon, ExitStack() as stack:
        before = memory_kib(daemon.pid)
        ends = [stack.enter_context(connected(home.socket)) for _ in range(60)]
        for end in ends:
            send_as_much_as_goes(end, iter([half]))
        refused = select.select(ends, [], [], DEADLINE_S)[0]
        assert refused, "420 MB of half messages: somebody has to go"
        assert b"busy: too many incomplete messages" in refused[0].recv(1 << 16)
        # Three times what they may hold together: each is copied as it grows.
        assert memory_kib(daemon.pid) - before < 3 * 64 * 1024 + LITTLE_KIB
        stack.close()
        eventually(lambda: memory_kib(daemon.pid) - before < LITTLE_KIB, message="the memory comes back")


def flood(method: str, **params: Any) -> Iterator[bytes]:
    """The same call for ever."""
    return repeat(rpc.request(1, method, params) * 64)


@pytest.mark.parametrize(
    "calls",
    [
        lambda: flood("enqueue", command="true"),
        lambda: flood("ping"),
        lambda: flood("hello", protocol=1),
        lambda: flood("no.such.method"),
        lambda: flood("job.wait", ids=["job_1"]),
        lambda: repeat(rpc.notification("cancel", {"msgid": 1}) * 64, 100_000),
        lambda: repeat(rpc.request(1, "enqueue", {"command": "true", "stdin": "x" * 4_000_000}), 50),
    ],
    ids=["enqueue", "ping", "hello", "unknown", "wait", "cancel", "large"],
)
def test_a_flood_from_a_client_that_never_reads_is_held_back(home: Home, calls: Callable[[], Iterator[bytes]]) -> None:
    with others_are_served(home, UNDER_WAY_KIB) as daemon:
        before = memory_kib(daemon.pid)
        with client(home) as asking, connected(home.socket) as end:
            asking.enqueue("true")
            assert send_as_much_as_goes(end, calls()), "it is not taken in until the client has to be dropped"
            assert asking.status()["workers"] == 0
            assert memory_kib(daemon.pid) - before < UNDER_WAY_KIB


def test_a_client_that_dies_in_mid_request_leaves_all_of_it_or_nothing(home: Home) -> None:
    home.start_daemon()
    many = rpc.request(1, "enqueue_many", {"jobs": [{"command": "true"}] * 3000})
    with connected(home.socket) as end:
        end.sendall(many[:-1])
    with connected(home.socket) as end:
        end.sendall(rpc.request(1, "batch.open"))
        token = answers(end, 1)[0].result["token"]
        end.sendall(rpc.request(2, "batch.add", {"token": token, "jobs": [{"command": "true"}] * 3000}))
        answers(end, 1)
    with client(home) as asking:
        assert asking.status()["counts"]["pending"] == 0
        with connected(home.socket) as end:
            end.sendall(many)
        eventually(lambda: asking.status()["counts"]["pending"] == 3000, message="it was whole, so all of it")
        assert len(list(asking.jobs())) == 3000


def test_out_of_descriptors_nothing_breaks_and_everything_comes_back(home: Home) -> None:
    daemon = home.start_daemon()
    with client(home) as asking:
        asking.worker_start()
        gate, mark = home.path / "gate", home.path / "mark"
        job = asking.enqueue(f"echo s >> {mark}; while [ ! -e {gate} ]; do sleep 0.05; done; echo e >> {mark}")
        eventually(mark.exists)
        limits = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
        try:
            resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (descriptors(daemon.pid), limits[1]))
            with pytest.raises(Busy, match="cannot start a worker: Too many open files"):
                asking.worker_start()
            second = asking.enqueue("echo two")
            gate.touch()
            assert asking.wait(job.id, timeout=DEADLINE_S)[0].exit_code == 0
            assert asking.wait(second.id, timeout=DEADLINE_S)[0].exit_code == 0
        finally:
            resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, limits)
        assert mark.read_text() == "s\ne\n"
        # Whoever was asked for and could not come up has been replaced or let go, and is not left in between.
        eventually(lambda: {one["state"] for one in asking.workers()} == {"idle"}, DEADLINE_S)
        assert all(os.path.exists(f"/proc/{one['pid']}") for one in asking.workers())
        assert len(asking.worker_start()["workers"]) == 1
        assert asking.output(second.id) == b"two\n"


def test_out_of_descriptors_a_dead_workers_job_runs_again_only_once_it_is_gone(home: Home) -> None:
    """Where nothing can be looked at, nothing may be taken for gone."""
    daemon = home.start_daemon()
    mark = home.path / "mark"
    with client(home) as asking:
        (worker,) = asking.worker_start()["workers"]
        job = asking.enqueue(f"echo s $$ >> {mark}; exec sleep 1000")
        first = int(eventually(lambda: mark.exists() and mark.read_text().split()).pop())
        limits = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
        try:
            resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
            os.kill(worker["pid"], signal.SIGKILL)
            eventually(lambda: "cannot clean up after worker" in home.daemon_log(), DEADLINE_S)
            assert asking.get(job.id).state == "processing", "nobody knows yet"
        finally:
            resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, limits)
        eventually(lambda: len(mark.read_text().splitlines()) == 2, DEADLINE_S, "it runs again")
        assert not is_alive(first)
        assert asking.get(job.id).data["crashes"] == 1
        asking.cancel(job.id)


def test_clients_never_use_up_the_descriptors_that_workers_need(home: Home) -> None:
    code = (
        "import os, resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (250, 250));"
        "os.execv(sys.executable, [sys.executable, '-m', 'queuectld', 'serve'])"
    )
    with open(home.path / "test-daemon.log", "ab") as log:
        daemon = subprocess.Popen([sys.executable, "-c", code], env=home.env, stdin=subprocess.DEVNULL, stderr=log)
    try:
        eventually(lambda: home.lock.exists() and home.lock.read_text(), DEADLINE_S)
        with client(home) as asking, ExitStack() as stack:
            asking.status()
            ends = [stack.enter_context(connected(home.socket)) for _ in range(260)]
            refused = eventually(lambda: select.select(ends, [], [], 0)[0], DEADLINE_S)
            assert b"busy: 50 clients are connected already" in refused[0].recv(1000)
            assert len(asking.worker_start(2)["workers"]) == 2
            assert asking.enqueue("true").wait(DEADLINE_S).exit_code == 0
        assert "at most 50 clients" in home.daemon_log()
    finally:
        daemon.kill()
        daemon.wait()


BLIND = """
import os, resource
from queuectld.workerwire import procfs
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
assert procfs.look(os.getppid()) is not None
assert procfs.look(2**22 + 1) is None
resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
for look in (procfs.look, procfs.environ, lambda pid: procfs.is_alive(pid, 0)):
    try:
        print(look(os.getppid()))
    except OSError as error:
        print(error.strerror)
"""


def test_who_cannot_look_takes_nobody_for_dead() -> None:
    done = subprocess.run([sys.executable, "-c", BLIND], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "Too many open files\n" * 3


def is_alive(pid: int) -> bool:
    """Whether there is such a process that can still do something."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
