"""A job whose stdin stays open: what is sent to it, in order, bounded, and answered."""

import os
from pathlib import Path
from typing import Any

from queuectld.worker.stdin import MOST_BYTES
from tests.support.eventually import eventually
from tests.support.fakedaemon import FakeDaemon, open_gate


def send(daemon: FakeDaemon, number: int, data: bytes = b"", *, eof: bool = False, run: int = 1) -> None:
    daemon.send("send", {"seq": 1, "run": run, "number": number, "data": data, "eof": eof})


def answer(daemon: FakeDaemon) -> tuple[int, str | None]:
    body = daemon.expect("sent")
    return body["number"], body["refused"]


def gated(daemon: FakeDaemon, script: str, **job: Any) -> Path:
    """Start a job that waits at the gate before it reads."""
    gate = daemon.home / "gate"
    os.mkfifo(gate)
    daemon.run(f"read -r _ < gate; {script}", cwd=str(daemon.home), stdin_open=True, **job)
    return gate


def test_hello_says_that_it_can(daemon: FakeDaemon) -> None:
    assert daemon.hello["knows"] == ["send"]


def test_what_is_sent_is_read_in_order_behind_what_was_given(daemon: FakeDaemon) -> None:
    daemon.run("cat; echo over", stdin_open=True, stdin="first|")
    send(daemon, 1, b"second|")
    assert answer(daemon) == (1, None)
    send(daemon, 2, b"\xff\x00|", eof=True)
    assert answer(daemon) == (2, None)
    assert daemon.output(daemon.expect("ended")) == b"first|second|\xff\x00|over\n"


def test_the_end_alone_can_be_sent_and_nothing_after_it(daemon: FakeDaemon) -> None:
    gate = gated(daemon, "cat")
    send(daemon, 1, eof=True)
    assert answer(daemon) == (1, None)
    send(daemon, 2, b"late")
    assert answer(daemon) == (2, "closed")
    open_gate(gate)
    assert daemon.output(daemon.expect("ended")) == b""


def test_more_than_the_job_reads_is_answered_when_it_has_read_it(daemon: FakeDaemon) -> None:
    gate = gated(daemon, "wc -c")
    for number in range(1, 7):
        send(daemon, number, b"x" * 250_000)
    assert answer(daemon) == (6, "full")  # the others wait: their bytes are kept, and not read yet
    open_gate(gate)
    assert sorted(answer(daemon) for _ in range(5)) == [(number, None) for number in range(1, 6)]
    send(daemon, 7, eof=True)
    assert answer(daemon) == (7, None)
    assert 4 * 250_000 <= MOST_BYTES < 5 * 250_000 - 65_536
    assert daemon.output(daemon.expect("ended")) == b"1250000\n"


def test_a_job_that_closed_its_stdin_is_told_of(daemon: FakeDaemon) -> None:
    gate = daemon.home / "gate"
    os.mkfifo(gate)
    daemon.run("exec 0<&-; echo > ready; read -r _ < gate", cwd=str(daemon.home), stdin_open=True)
    daemon.expect("running")
    eventually((daemon.home / "ready").exists, message="the job has closed it")
    send(daemon, 2, b"x")
    assert answer(daemon) == (2, "closed")
    send(daemon, 3, b"x")
    assert answer(daemon) == (3, "closed")
    open_gate(gate)
    assert daemon.expect("ended")["exit_code"] == 0


def test_what_was_not_read_at_the_end_is_refused(daemon: FakeDaemon) -> None:
    gate = gated(daemon, "exit 3")
    send(daemon, 1, b"x" * 200_000)
    open_gate(gate)
    number, refused = answer(daemon)
    assert (number, refused) in [(1, "closed"), (1, "ended")]  # whichever is noticed first
    assert daemon.expect("ended")["exit_code"] == 3
    send(daemon, 2, b"x")
    assert answer(daemon) == (2, "ended")


def test_the_pipe_is_the_workers_and_survives_the_daemon(daemon: FakeDaemon) -> None:
    daemon.run("read -r a; read -r b; echo $a$b", stdin_open=True)
    send(daemon, 1, b"one\n")
    assert answer(daemon) == (1, None)
    daemon.vanish()
    daemon.listen()
    assert daemon.accept()["running"]["seq"] == 1
    send(daemon, 2, b"two\n")
    assert answer(daemon) == (2, None)
    assert daemon.output(daemon.expect("ended")) == b"onetwo\n"


def test_another_run_of_the_worker_is_not_meant(daemon: FakeDaemon) -> None:
    gate = gated(daemon, "cat")
    send(daemon, 1, b"x", run=9)
    assert answer(daemon) == (1, "ended")
    send(daemon, 2, eof=True)
    assert answer(daemon) == (2, None)
    open_gate(gate)
    assert daemon.output(daemon.expect("ended")) == b""


def test_a_job_whose_stdin_is_not_open_refuses(daemon: FakeDaemon) -> None:
    gate = daemon.home / "gate"
    os.mkfifo(gate)
    daemon.run("read -r _ < gate", cwd=str(daemon.home))
    send(daemon, 1, b"x")
    assert answer(daemon) == (1, "closed")
    open_gate(gate)
    assert daemon.expect("ended")["exit_code"] == 0
