"""Readers of long lists and large logs that stop reading, or read slowly: bounded memory, and all of it in the end."""

import os
import subprocess
import sys

import pytest

from queuectl_client import Client
from queuectl_client.protocol import rpc
from tests.support.daemon import QUEUECTL, Home
from tests.support.eventually import eventually
from tests.support.raw import DEADLINE_S, answers, connected, memory_kib, send_as_much_as_goes

JOBS = 10_000
NAME = "n" * 1000
LOG_BYTES = 64 << 20
STOPPED_KIB = 32 * 1024
"""Eight answers of 1 MiB under way, the rows of which the next is made, and what the sockets hold; not forty."""
CLIENT_KIB = 40 * 1024
"""The interpreter with click and msgpack, and a few pages."""


def client(home: Home) -> Client:
    """A client of this home that starts nothing."""
    return Client(autostart=False, environ=home.env)


@pytest.mark.parametrize("what", ["list", "job.logs", "events.subscribe"])
def test_a_reader_that_stops_costs_little_and_nobody_else_anything(home: Home, what: str) -> None:
    daemon = home.start_daemon()
    with client(home) as asking, connected(home.socket) as end:
        fill(home, asking, what)
        before = memory_kib(daemon.pid)
        asked = {"job.logs": {"id": "job_1", "limit": 1 << 20}, "events.subscribe": {"since": 0}}.get(what, {})
        calls = 1 if what == "events.subscribe" else 40
        end.sendall(b"".join(rpc.request(number, what, asked) for number in range(calls)))
        for _ in range(20):
            assert asking.status()["pid"] == daemon.pid
            asking.enqueue("true", hold=True)
        assert memory_kib(daemon.pid) - before < STOPPED_KIB, "forty answers of 1 MiB were asked for"
        # It reads on after all, and gets what it asked for.
        assert len(answers(end, calls)) >= calls


def fill(home: Home, asking: Client, what: str) -> None:
    """Long lists of jobs, a large log, many events."""
    if what == "job.logs":
        asking.worker_start()
        asking.enqueue(f"head -c {LOG_BYTES // 2} /dev/zero; head -c {LOG_BYTES // 4} /dev/urandom").wait(DEADLINE_S)
        return
    asking.enqueue_many(({"command": "true", "name": NAME} for _ in range(JOBS)), hold=True)
    if what == "events.subscribe":
        for _ in range(3):
            asking.release("1-3000")
            asking.hold("1-3000")


def memory_while_reading(home: Home, *words: str) -> tuple[int, int]:
    """The most memory (KiB) that `queuectl WORDS` held while its output was read, and how many bytes came."""
    code = (
        "import resource, subprocess, sys; sink = open(sys.argv[1], 'wb');"
        "code = subprocess.run(sys.argv[2:], stdout=sink).returncode;"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, sink.tell()); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "/dev/null", QUEUECTL, *words],
        env=home.env, cwd=home.path, capture_output=True, text=True, timeout=100, check=True,
    )  # fmt: skip
    most, sent = done.stdout.split()
    return int(most), int(sent)


def test_a_list_and_a_log_of_any_length_are_shown_in_little_memory(home: Home) -> None:
    home.start_daemon()
    with client(home) as asking:
        fill(home, asking, "job.logs")
        asking.enqueue_many(({"command": "true", "name": NAME} for _ in range(JOBS)), hold=True)
    short, _ = memory_while_reading(home, "status")
    for words in (["list"], ["list", "--json"], ["logs", "job_1"], ["logs", "job_1", "-n", "3"]):
        most, _ = memory_while_reading(home, *words)
        assert most - short < CLIENT_KIB, words


def test_a_slow_reader_gets_every_byte_of_a_large_log(home: Home) -> None:
    daemon = home.start_daemon()
    with client(home) as asking:
        asking.worker_start()
        asking.enqueue("seq 1 3000000").wait(DEADLINE_S)
        before = memory_kib(daemon.pid)
        reader = home.popen("logs", "job_1", encoding=None, errors=None)
        assert reader.stdout is not None
        expected = "".join(f"{number}\n" for number in range(1, 3_000_001)).encode()
        got = b""
        while piece := os.read(reader.stdout.fileno(), 1 << 20):  # type: ignore[call-overload]
            got += piece
            assert memory_kib(daemon.pid) - before < STOPPED_KIB
        assert got == expected
        assert reader.wait(DEADLINE_S) == 0


def test_a_reader_that_never_reads_is_dropped_by_the_real_daemon(home: Home) -> None:
    # The deadline is made short in the daemon itself: waiting for the real one takes half a minute.
    code = "import sys, queuectld.server.connection as c; c.STOPPED_READER_S = 0.5; c.HALF_MESSAGE_S = 0.5;" \
           "from queuectld.cli import main; sys.exit(main(['serve']))"  # fmt: skip
    with open(home.path / "test-daemon.log", "ab") as log:
        daemon = subprocess.Popen([sys.executable, "-c", code], env=home.env, stdin=subprocess.DEVNULL, stderr=log)
    try:
        eventually(lambda: home.lock.exists() and home.lock.read_text(), DEADLINE_S)
        with client(home) as asking, connected(home.socket) as end, connected(home.socket) as half:
            asking.enqueue_many(({"command": "true", "name": NAME} for _ in range(5000)), hold=True)
            count = len(os.listdir(f"/proc/{daemon.pid}/fd"))
            half.sendall(rpc.request(1, "status")[:-1])
            send_as_much_as_goes(end, iter(rpc.request(number, "list") for number in range(300)))
            eventually(lambda: len(os.listdir(f"/proc/{daemon.pid}/fd")) == count - 2, DEADLINE_S, "both are dropped")
            assert b"incomplete message" in half.recv(1000)
            assert asking.status()["counts"]["held"] == 5000
    finally:
        daemon.kill()
        daemon.wait()
