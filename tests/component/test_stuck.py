"""What of a run cannot be ended: who may not be signalled, and who hangs in the kernel."""

import os
import signal
import subprocess
from typing import Any

import pytest

from queuectld.boot import boot_id
from queuectld.domain.outcome import Survivor
from queuectld.workerwire import procfs, unkillable


def process(state: str) -> procfs.Process:
    """This process, said to be in another state."""
    found = procfs.look(os.getpid())
    assert found is not None
    found.state = state
    return found


@pytest.fixture
def denied(monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(_descriptor: int, _number: int, *_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(signal, "pidfd_send_signal", deny)


def test_one_that_may_still_end_is_waited_for() -> None:
    assert unkillable.survivors_of([process("S")], 1000) == []
    assert unkillable.survivors_of([process("D")], 0) == []
    assert unkillable.survivors_of([process("D"), process("R")], 1000) == []


def test_one_that_hangs_in_the_kernel_is_left_after_a_while() -> None:
    [left] = unkillable.survivors_of([process("D")], unkillable.STUCK_SECONDS)
    survivor = Survivor(*left)
    assert (survivor.pid, survivor.start_time, survivor.boot_id) == (
        os.getpid(), procfs.start_time(os.getpid()), boot_id()
    )  # fmt: skip
    assert survivor.words == unkillable.words([left]) == f"pid {os.getpid()} ({survivor.name}) does not end on KILL"


def test_to_look_whether_it_may_be_signalled_does_it_no_harm() -> None:
    with subprocess.Popen(["sleep", "1000"]) as child:
        found = procfs.look(child.pid)
        assert found is not None
        assert not unkillable.is_denied(found)
        child.kill()
    assert child.returncode == -signal.SIGKILL
    assert not unkillable.is_denied(found), "it is gone"


@pytest.mark.usefixtures("denied")
def test_one_that_may_not_be_signalled_is_left_at_once() -> None:
    [left] = unkillable.survivors_of([process("S")], 0)
    survivor = Survivor(*left)
    assert survivor.denied
    assert survivor.words == unkillable.words([left]) == f"not permitted to signal pid {os.getpid()} ({survivor.name})"
