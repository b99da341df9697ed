"""How what is left of a run is ended: first asked, then killed, and named when that does not help."""

import asyncio
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

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
