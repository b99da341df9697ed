"""How what is left of a run is ended: first asked, then killed, and named when that does not help."""

import asyncio
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from queuectld.boot import boot_id
from queuectld.pool import orphans
from queuectld.pool.orphans import Remains
from queuectld.pool.process import RunKey
from queuectld.workerwire import procfs

RECORD: dict[str, Any] = {"cgroup": "/a/group"}


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The signals sent, and the groups killed, in their order."""
    found: list[Any] = []
    real = procfs.send_signal

    def send(pid: int, start_time: int, number: int) -> Any:
        found.append(signal.Signals(number).name)
        return real(pid, start_time, number)

    monkeypatch.setattr(orphans.procfs, "send_signal", send)
    monkeypatch.setattr(orphans, "_kill_group", lambda record: found.append(record["cgroup"]))
    return found


def ended(process: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch) -> list[list[Any]]:
    def find(*_: Any) -> Remains:
        one = procfs.look(process.pid)
        return Remains(RECORD, [one] if one is not None and one.is_alive else [])

    monkeypatch.setattr(orphans, "find", find)
    return asyncio.run(orphans.end(Path("/state"), 1, RunKey(1, 1), "job_1", "", 10))


def test_one_that_ignores_term_is_killed_with_its_group_after_the_grace(
    done: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["/bin/sh", "-c", "trap '' TERM; echo; exec sleep 1000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert ended(process, monkeypatch) == []
        assert process.wait() == -signal.SIGKILL
    assert done == ["SIGTERM", "SIGCONT", "/a/group", "SIGKILL"]


def test_one_that_cannot_be_ended_is_named_after_it_was_asked(done: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orphans.unkillable, "survivors_of", lambda living, _: [[each.pid] for each in living])
    command = ["/bin/sh", "-c", "trap '' TERM; echo; exec sleep 1000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            assert ended(process, monkeypatch) == [[process.pid]]
        finally:
            process.kill()
    assert done == ["SIGTERM", "SIGCONT"]


@pytest.mark.parametrize(
    ("changes", "killed"),
    [({}, True), ({"cgroup": None}, False), ({"boot_id": "another"}, False), ({"worker_start_time": None}, False)],
    ids=["worker is dead", "no group", "another boot", "worker lives"],
)
def test_the_group_of_a_dead_worker_of_this_boot_is_killed(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], killed: bool
) -> None:
    groups: list[str] = []
    monkeypatch.setattr(orphans.cgroup, "kill", groups.append)
    us = procfs.look(os.getpid())
    assert us is not None
    # The worker: a process that had our pid and started at another time; it lives where the time is ours.
    record = {
        "cgroup": "/a/group",
        "boot_id": boot_id(),
        "worker_pid": us.pid,
        "worker_start_time": us.start_time + 10**6,
    }
    record |= changes
    record["worker_start_time"] = record["worker_start_time"] or us.start_time
    orphans._kill_group(record)
    assert groups == (["/a/group"] if killed else [])


def test_processes_that_have_not_ended_in_time_are_watched_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped: list[int] = []
    us = procfs.look(os.getpid())
    assert us is not None

    def watch(pid: int, _start_time: int, _done: Any) -> Any:
        return lambda: stopped.append(pid)

    monkeypatch.setattr(orphans, "watch_exit", watch)
    assert asyncio.run(orphans._all_ended([us], 0.01)) is False
    assert stopped == [us.pid]
