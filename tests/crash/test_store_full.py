"""A full disk: what cannot be stored is refused in words, what ended is kept, and all goes on when there is room."""

import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from queuectl_client import Client
from queuectl_client.errors import NoSpace, QueuectlError
from tests.crash.disks import KINDS, Disk, RealDisk, let_rest
from tests.support.daemon import Home, terminate
from tests.support.eventually import eventually
from tests.support.processes import processes_of


@pytest.fixture(params=KINDS)
def disk(home: Home, request: pytest.FixtureRequest) -> Iterator[Disk]:
    made: Disk = request.param(home)
    try:
        yield made
        made.empty()
        home.stop()
        assert not home.broken_promises()
    finally:
        home.stop()
        made.close()


@pytest.fixture
def gate(home: Home, disk: Disk) -> Iterator[str]:
    """A command that ends when `open_gate` is called. The FIFO is opened before the disk is full."""
    path = home.path / "gate"
    os.mkfifo(path)
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    home.env["GATE"] = str(descriptor)
    yield f"read line < {path}"
    os.close(descriptor)


def open_gate(home: Home) -> None:
    os.write(int(home.env["GATE"]), b"go\n")


def refused_until_full(home: Home, disk: Disk) -> None:
    """The disk is full, and the log beside the store has used what room it had: not the smallest job is stored."""
    let_rest(home)  # what it empties by itself later would be room again
    disk.fill()
    with Client(autostart=False, environ=home.env) as client:
        for size in (100_000, 10_000, 10):
            while enqueued(client, command="x" * size, hold=True):
                pass


def enqueued(client: Client, **job: Any) -> bool:
    try:
        client.enqueue(job)
    except NoSpace:
        return False
    return True


def test_a_job_that_has_no_room_is_refused_and_all_goes_on_when_there_is_some(home: Home, disk: Disk) -> None:
    daemon = home.start_daemon()
    home.ok("worker", "scale", "1")
    refused_until_full(home, disk)
    known = home.states()
    refused = home.cli("enqueue", "--id", "wanted", f": {'x' * 20_000}")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "full" in refused.stderr
    assert str(home.store) in refused.stderr
    assert home.states() == known, "reading goes on, and nothing of it was stored"
    disk.empty()
    home.ok("enqueue", "--id", "wanted", "echo stored")
    home.ok("wait", "wanted")
    assert home.ok("logs", "wanted") == "stored\n"
    assert daemon.poll() is None, "nobody had to start another daemon"


def test_a_result_is_kept_until_it_can_be_stored(home: Home, disk: Disk, gate: str) -> None:
    daemon = home.start_daemon()
    home.ok("worker", "scale", "1")
    home.ok("enqueue", "--id", "running", "--max-retries", "1", f"{gate}; echo done; exit 7")
    eventually(lambda: home.states()["running"] == "processing")
    refused_until_full(home, disk)
    open_gate(home)
    eventually(lambda: not runs(home, "running"))
    eventually(lambda: "cannot store a turn" in home.daemon_log())
    assert home.states()["running"] == "processing", "its outcome has no room"
    disk.empty()
    home.cli("wait", "running")
    job = home.json("show", "running")
    assert (job["state"], job["exit_code"], job["runs"], job["crashes"]) == ("dead", 7, 1, 0)
    assert home.ok("logs", "running") == "done\n"
    assert daemon.poll() is None, "it is the same daemon"


def test_a_result_outlives_a_daemon_that_is_killed_on_a_full_disk(home: Home, disk: Disk, gate: str) -> None:
    daemon = home.start_daemon()
    home.ok("worker", "scale", "1")
    home.ok("enqueue", "--id", "running", "--max-retries", "1", f"{gate}; echo done; exit 7")
    eventually(lambda: home.states()["running"] == "processing")
    refused_until_full(home, disk)
    daemon.send_signal(signal.SIGKILL)
    daemon.wait(20)
    open_gate(home)
    eventually(lambda: not runs(home, "running"))
    if isinstance(disk, RealDisk):  # there is room set aside for this
        spool = home.state / "spool"
        eventually(lambda: [file for file in spool.iterdir() if not file.name.endswith(".reserve")])
    disk.empty()
    home.start_daemon()
    home.cli("wait", "running")
    job = home.json("show", "running")
    assert (job["state"], job["exit_code"], job["runs"], job["crashes"]) == ("dead", 7, 1, 0)
    assert home.ok("logs", "running") == "done\n"


def test_a_job_that_writes_on_a_full_disk_goes_on_and_what_was_lost_is_told(home: Home, disk: Disk, gate: str) -> None:
    home.start_daemon()
    home.ok("worker", "scale", "1")
    big = "head -c 3000000 /dev/zero | tr '\\0' x"
    home.ok("enqueue", "--id", "writes", "--max-retries", "1", f"{gate}; {big}; exit 5")
    eventually(lambda: home.states()["writes"] == "processing")
    disk.fill()
    open_gate(home)
    eventually(lambda: not runs(home, "writes"))
    disk.empty()
    home.cli("wait", "writes")
    job = home.json("show", "writes")
    assert (job["state"], job["exit_code"], job["crashes"]) == ("dead", 5, 0)
    (attempt,) = job["attempts_list"]
    assert attempt["output_bytes"] == 3_000_000
    assert attempt["output_dropped"] > 0
    home.ok("logs", "writes")


def runs(home: Home, job: str) -> bool:
    """Whether a process of the job lives."""
    mark = b"QUEUECTL_JOB_ID=" + job.encode() + b"\0"
    return any(mark in environment(pid) for pid in processes_of(home.path))


def environment(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def test_a_daemon_is_told_to_end_on_a_full_disk_and_ends(home: Home, disk: Disk) -> None:
    daemon = home.start_daemon()
    home.ok("enqueue", "--id", "kept", "true")
    refused_until_full(home, disk)
    assert terminate(daemon) == 0
    disk.empty()
    home.ok("daemon", "start")
    assert home.states()["kept"] == "pending"


def test_on_a_full_disk_jobs_can_be_removed(home: Home, disk: Disk) -> None:
    """Where else would room come from? The log begins anew, in the blocks that it has.

    In a store that has been in use: there are free pages in the file, and a log beside it.
    """
    home.start_daemon()
    home.ok("enqueue", "-f", "-", input="".join(f": {'x' * 2_000} {number}\n" for number in range(200)))
    home.ok("rm", "1-50", "-q")
    home.ok("daemon", "restart")
    home.ok("hold", "all", "-q")
    disk.fill()
    removed = home.cli("rm", "51-150", "-q")
    if isinstance(disk, RealDisk):
        assert (removed.returncode, len(home.states())) == (0, 50)
    else:  # there not even the log can be written over
        assert (removed.returncode, len(home.states())) == (1, 150)


def test_on_a_disk_that_the_store_has_filled_jobs_can_be_removed_and_the_daemon_stops(home: Home, disk: Disk) -> None:
    """Not everything may lie in the log, which could then not be moved into the file."""
    if not isinstance(disk, RealDisk):
        return  # no room at all is another case
    home.start_daemon()
    with Client(autostart=False, environ=home.env) as client:
        for size in (100_000, 10_000, 10):
            while enqueued(client, command="x" * size, hold=True):
                pass
    known = len(home.states())
    home.ok("rm", "1-5", "-y")
    assert len(home.states()) == known - 5
    home.ok("enqueue", "true")
    home.ok("daemon", "stop")


def test_of_requests_that_share_a_commit_those_that_have_room_are_stored(home: Home, disk: Disk) -> None:
    home.start_daemon()
    with Client(autostart=False, environ=home.env) as client:
        client.call("enqueue", id="before", command="true", hold=True)
        if isinstance(disk, RealDisk):
            disk.leave(96 * 1024)
        else:
            disk.fill()
        sizes = {"small": 10, "huge": 1_000_000, "another": 10}
        sent = [
            client.send("enqueue", {"id": id, "command": "x" * size, "hold": True, "request": str(uuid.uuid4())})
            for id, size in sizes.items()
        ]
        answers = [answer(client, msgid) for msgid in sent]
    stored = {"before"} | {id for id, error in zip(sizes, answers, strict=True) if error is None}
    assert isinstance(answers[1], NoSpace)
    assert set(home.states()) == stored
    if isinstance(disk, RealDisk):
        assert stored == {"before", "small", "another"}


def answer(client: Client, msgid: int) -> QueuectlError | None:
    try:
        client.result(msgid)
    except QueuectlError as error:
        return error
    return None
