"""System calls of a worker that fail, one by one: what it had to tell is told again, and no job pays for it."""

import os
import sys
from pathlib import Path

import pytest

from tests.support.eventually import eventually
from tests.support.fakedaemon import FakeDaemon
from tests.support.processes import processes_of
from tests.support.programs import needs

SHORTAGES = ["EMFILE", "ENFILE", "ENOMEM"]


def start_with(daemon: FakeDaemon, inject: str, *options: str) -> None:
    """A worker whose system calls fail as `inject` says (strace(1))."""
    trace = str(daemon.home / "trace")
    daemon.launch(*options, prefix=("strace", "-o", trace, "-e", f"inject={inject}"))


@pytest.mark.parametrize("error", ["ENOBUFS", "ENOMEM", "EIO", "EPIPE"])
@needs("strace")
def test_an_outcome_that_cannot_be_sent_is_told_over_the_next_connection(idle_daemon: FakeDaemon, error: str) -> None:
    start_with(idle_daemon, f"sendto:error={error}:when=2")
    idle_daemon.accept()
    idle_daemon.run("echo told; exit 3")
    assert idle_daemon.has_hung_up()
    hello = idle_daemon.accept()
    assert [(body["seq"], body["exit_code"]) for body in hello["ended"]] == [(1, 3)]
    assert idle_daemon.output(idle_daemon.outcome("echo next", seq=2)) == b"next\n"


@needs("strace")
def test_a_hello_that_cannot_be_sent_is_said_again(idle_daemon: FakeDaemon) -> None:
    start_with(idle_daemon, "sendto:error=ENOBUFS:when=1..2")
    idle_daemon.pass_over(2)
    idle_daemon.accept()
    assert idle_daemon.output(idle_daemon.outcome("echo next")) == b"next\n"


@needs("strace")
def test_a_welcome_that_cannot_be_received_is_asked_for_again(idle_daemon: FakeDaemon) -> None:
    start_with(idle_daemon, "recvfrom:error=ENOMEM:when=1")
    idle_daemon.pass_over(1, say_welcome=True)
    idle_daemon.accept()
    assert idle_daemon.output(idle_daemon.outcome("echo next")) == b"next\n"


@needs("strace")
def test_a_job_that_cannot_be_received_is_told_of(idle_daemon: FakeDaemon) -> None:
    start_with(idle_daemon, "recvfrom:error=ENOMEM:when=1")
    idle_daemon.accept(welcome=False)
    idle_daemon.run("exit 3")
    assert idle_daemon.has_hung_up()
    hello = idle_daemon.accept()
    assert (hello["running"], hello["ended"]) == (None, [])
    assert idle_daemon.output(idle_daemon.outcome("echo next")) == b"next\n"


@pytest.mark.parametrize("call", ["socket", "connect", "getsockopt"])
@needs("strace")
def test_a_connection_that_cannot_be_made_is_tried_again(idle_daemon: FakeDaemon, call: str) -> None:
    start_with(idle_daemon, f"{call}:error=ENOMEM:when=1..3")
    if call == "getsockopt":
        idle_daemon.pass_over(3)
    idle_daemon.accept()
    assert idle_daemon.output(idle_daemon.outcome("echo next")) == b"next\n"


def test_a_daemon_that_never_says_welcome_is_connected_to_again(idle_daemon: FakeDaemon) -> None:
    """It may not know of the connection: its own call to watch it has failed."""
    code = "import runpy, queuectld.worker.uplink as u; u.WELCOME_SECONDS = 0.2; import sys; sys.argv[:4] = ['w']; "
    run = "runpy.run_module('queuectld.worker.main', run_name='__main__', alter_sys=True)"
    idle_daemon.launch(prefix=(sys.executable, "-c", code + run))
    idle_daemon.accept(welcome=False)
    idle_daemon.accept()
    assert idle_daemon.output(idle_daemon.outcome("echo next")) == b"next\n"


@pytest.mark.parametrize("error", SHORTAGES)
@needs("strace")
def test_a_job_is_given_back_unbegun_when_a_worker_is_short_of_something(idle_daemon: FakeDaemon, error: str) -> None:
    # The pipes of a job's output are made by pipe2; one more was made at the worker's start.
    start_with(idle_daemon, f"pipe2:error={error}:when=2..11")
    idle_daemon.accept()
    for seq in (1, 2):
        idle_daemon.run("echo never", seq=seq)
        returned = idle_daemon.expect("returned")
        assert (returned["seq"], returned["run"]) == (seq, 1)
        assert returned["short"]
    assert idle_daemon.log.read_text().count("cannot start jobs") == 1
    assert idle_daemon.output(idle_daemon.outcome("echo next", seq=3)) == b"next\n"
    # Of the runs that went back nothing is left that would count as a crash.
    assert idle_daemon.state_record()["seq"] == 3


@needs("strace")
def test_a_run_that_went_back_is_not_in_the_state_file(idle_daemon: FakeDaemon) -> None:
    start_with(idle_daemon, "pipe2:error=EMFILE:when=2+")
    idle_daemon.accept()
    idle_daemon.run("echo never")
    idle_daemon.expect("returned")
    assert idle_daemon.state_record()["seq"] == 0


@needs("strace")
def test_a_folder_that_cannot_be_looked_at_now_is_no_fault_of_the_job(idle_daemon: FakeDaemon) -> None:
    start_with(idle_daemon, "chdir:error=ENOMEM:when=2")  # the first was the worker's own
    idle_daemon.accept()
    assert idle_daemon.output(idle_daemon.outcome("pwd", cwd=str(idle_daemon.home))) == f"{idle_daemon.home}\n".encode()


@needs("strace")
def test_a_worker_told_to_stop_gives_back_what_it_could_not_begin(idle_daemon: FakeDaemon) -> None:
    start_with(idle_daemon, "pipe2:error=EMFILE:when=2+")
    idle_daemon.accept()
    idle_daemon.run("echo never")
    idle_daemon.kill(reason="shutdown", grace_ms=0)
    assert idle_daemon.expect("returned")["seq"] == 1


@needs("strace")
def test_a_worker_that_has_no_room_to_begin_says_so_in_words(idle_daemon: FakeDaemon) -> None:
    start_with(idle_daemon, "fallocate:error=ENOSPC:when=1")
    assert idle_daemon.wait_for_exit() == 1
    said = idle_daemon.log.read_text()
    assert "worker w12: cannot start: [Errno 28] No space left on device" in said
    assert "Traceback" not in said


def test_a_worker_that_cannot_set_room_aside_says_so_in_words(idle_daemon: FakeDaemon) -> None:
    spool = idle_daemon.state / "spool"
    spool.mkdir()
    os.mkfifo(spool / "12.reserve")
    idle_daemon.launch()
    assert idle_daemon.wait_for_exit() == 1
    said = idle_daemon.log.read_text()
    assert "worker w12: exiting, a system call failed: [Errno 22] it is not a regular file" in said
    assert "Traceback" not in said


@needs("strace")
def test_the_file_of_an_outcome_that_cannot_be_removed_now_is_removed_later(idle_daemon: FakeDaemon) -> None:
    code = "import sys; import queuectld.worker.main as w; w.AGAIN_SECONDS = 0.1; sys.exit(w.main(sys.argv[4:]))"
    busy = ("strace", "-o", str(idle_daemon.home / "trace"), "-e", "inject=unlink:error=EBUSY:when=1")
    idle_daemon.launch(prefix=(*busy, sys.executable, "-c", code))
    idle_daemon.accept()
    idle_daemon.run("exit 3")
    idle_daemon.vanish()
    spool = idle_daemon.state / "spool"
    eventually(lambda: [file.name for file in spool.iterdir()] == ["12.1.1"], message="it is spooled")
    idle_daemon.listen()
    idle_daemon.accept()
    idle_daemon.stored()
    eventually(lambda: not list(spool.iterdir()), message="its file is gone")
    assert idle_daemon.output(idle_daemon.outcome("echo next", seq=2)) == b"next\n"


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_children_that_hold_their_output_cost_a_worker_no_more_than_a_few_descriptors(daemon: FakeDaemon) -> None:
    gate = daemon.home / "gate"
    os.mkfifo(gate)
    before = descriptors(daemon.pid)
    for seq in range(1, 51):
        body = daemon.outcome(f"(read -r _ < {gate}; echo late; echo done >> {daemon.home}/done) &", seq=seq)
        assert (body["kind"], body["exit_code"]) == ("exit", 0)
        assert body["left_behind"]
    assert descriptors(daemon.pid) <= before + 20
    # They write after the end of their jobs, and after that of their worker, and nothing ends them for it.
    daemon.send("drain", {})
    daemon.expect("drained")
    assert daemon.wait_for_exit() == 0
    gate.write_text("\n" * 50)  # one opening lets all of them go on
    done = daemon.home / "done"
    eventually(lambda: done.exists() and done.read_text() == "done\n" * 50, deadline=20, message="all have written")
    eventually(lambda: not processes_of(daemon.home), deadline=20, message="nobody is left")


def test_the_children_are_nobody_of_a_later_job(daemon: FakeDaemon) -> None:
    pids = daemon.home / "pids"
    for seq in range(1, 41):
        daemon.outcome(f"sleep 60 & echo $! >> {pids}", seq=seq)
    body = daemon.outcome("exit 5", seq=41, kill_grace_ms=0)
    assert (body["exit_code"], body["left_behind"]) == (5, None)
    assert all(Path(f"/proc/{pid}").exists() for pid in pids.read_text().split())
