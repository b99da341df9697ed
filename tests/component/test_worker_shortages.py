"""A worker that is short of descriptors or memory while a command runs, or whose files fail, goes on."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fakedaemon import FakeDaemon, open_gate
from tests.support.programs import needs

pytestmark = needs("strace")


@contextlib.contextmanager
def injected(daemon: FakeDaemon, inject: str) -> Iterator[Path]:
    """System calls of the worker, which already runs, fail as `inject` says (strace(1)). Yields the trace."""
    trace = daemon.home / "trace"
    call = inject.partition(":")[0]
    options = ["-o", str(trace), "-e", f"trace={call}", "-e", f"inject={inject}"]
    tracer = subprocess.Popen(["strace", *options, "-p", str(daemon.pid)], stderr=subprocess.PIPE)
    try:
        assert tracer.stderr is not None
        assert b"attached" in tracer.stderr.readline()
        yield trace
    finally:
        tracer.terminate()
        tracer.communicate()


@pytest.mark.parametrize("error", ["EMFILE", "ENFILE", "ENOMEM"])
def test_a_run_is_announced_once_its_process_can_be_identified(daemon: FakeDaemon, error: str) -> None:
    gate = daemon.home / "gate"
    os.mkfifo(gate)
    with injected(daemon, f"openat:error={error}:when=1..3") as trace:
        daemon.run(f"read -r _ < {gate}; echo done")
        running = daemon.expect("running")
        assert running["start_time"] is not None
        assert daemon.state_record()["start_time"] == running["start_time"]
        assert "/stat" in trace.read_text()
    assert trace.read_text().count("INJECTED") == 3
    open_gate(gate)
    body = daemon.expect("ended")
    assert (body["exit_code"], daemon.output(body)) == (0, b"done\n")


@pytest.mark.parametrize("error", ["EMFILE", "ENFILE", "ENOMEM"])
def test_the_outcome_of_a_run_is_kept_though_what_it_left_cannot_be_read(daemon: FakeDaemon, error: str) -> None:
    with injected(daemon, f"openat:error={error}:when=1..3") as trace:
        body = daemon.outcome("sleep 60 & exit 5", kill_grace_ms=0)
        assert (body["kind"], body["exit_code"], body["left_behind"]) == ("exit", 5, None)
    assert "INJECTED" in trace.read_text()
    body = daemon.outcome("sleep 60 & echo next", seq=2)
    assert "(pid " in body["left_behind"]


def test_a_command_is_started_once_though_the_worker_cannot_leave_its_folder(daemon: FakeDaemon) -> None:
    with injected(daemon, "chdir:error=ENOMEM:when=2") as trace:
        daemon.outcome(f"echo ran >> {daemon.home}/runs")
    assert "INJECTED" in trace.read_text()
    assert (daemon.home / "runs").read_text() == "ran\n"


@pytest.mark.parametrize("error", ["EIO", "EROFS"])
def test_a_job_does_not_start_without_a_record_of_its_run(daemon: FakeDaemon, error: str) -> None:
    """Recovery would take it for one that never started, and start it again."""
    with injected(daemon, f"pwrite64:error={error}:when=1"):
        daemon.run(f"echo ran >> {daemon.home}/runs")
        assert "state file" in daemon.expect("returned")["short"]
    assert not (daemon.home / "runs").exists()
    assert daemon.output(daemon.outcome("echo next", seq=2)) == b"next\n"


@pytest.mark.parametrize("inject", ["ftruncate:error=EIO:when=1", "unlink:error=EROFS:when=1"])
def test_an_output_file_that_cannot_be_emptied_does_not_end_the_worker(daemon: FakeDaemon, inject: str) -> None:
    call = inject.partition(":")[0]
    with injected(daemon, inject if call == "ftruncate" else f"ftruncate,{inject}") as trace:
        body = daemon.outcome("echo begun; sleep 0.5; echo done")  # announced, so its output is in a file too
        assert daemon.output(body) == b"begun\ndone\n"
        assert daemon.output(daemon.outcome("echo next", seq=2)) == b"next\n"
    assert "INJECTED" in trace.read_text()
