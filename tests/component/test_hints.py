"""What keeps a new job from starting is told by the answer that it is stored: nobody asks for it, and it is true."""

import asyncio
import subprocess
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from queuectld.pool.pool import WorkerPool
from queuectld.pool.process import Worker
from queuectld.scheduler.clock import Clock
from queuectld.scheduler.hints import Hint, Hints
from queuectld.scheduler.inbox import Inbox
from queuectld.scheduler.run_control import Capacity
from tests.support.daemon import QUEUECTL, Home
from tests.support.fakeserver import FakeServer

JOB = {"id": "job_1", "seq": 1, "command": "true", "state": "pending", "queue": "night", "slots": 5, "ready": True}
HELD_BACK = {"paused": ["night"], "workers": 2, "slots": 2, "draining": True}


@pytest.fixture
def server(home: Home) -> Iterator[FakeServer]:
    def many(params: dict[str, Any]) -> dict[str, Any]:
        seqs = list(range(1, len(params["jobs"]) + 1))
        return {"ids": [f"job_{seq}" for seq in seqs], "seqs": seqs}

    answers: dict[str, Any] = {
        "enqueue": lambda _: JOB | {"hint": HELD_BACK},
        "enqueue_many": lambda params: many(params) | {"hint": HELD_BACK},
        "batch__open": lambda _: {"token": "t"},
        "batch__add": many,
        "batch__commit": lambda _: {"count": 300, "hint": HELD_BACK},
    }
    with FakeServer(home.path / "fake.sock", **answers) as started:
        yield started


def enqueue(server: FakeServer, *words: str, lines: str = "") -> subprocess.CompletedProcess[str]:
    command = [QUEUECTL, "--no-autostart", "--socket", str(server.path), "enqueue", *words]
    return subprocess.run(command, input=lines, capture_output=True, text=True, timeout=60, check=True)


@pytest.mark.parametrize(
    "words, lines, calls",
    [
        (["true"], "", ["enqueue"]),
        (["-f", "-"], '{"command":"true","slots":5}\n', ["enqueue_many"]),
        (
            ["-f", "-"],
            '{"command":"true","slots":5}\n' * 300,
            ["batch.open", "batch.add", "batch.add", "batch.commit"],
        ),
    ],
    ids=["one", "many", "batch"],
)
def test_the_command_line_makes_no_call_for_its_hints(
    server: FakeServer, words: list[str], lines: str, calls: list[str]
) -> None:
    """`status` followed each of them, and `config.get` where the slots were not enough."""
    said = enqueue(server, *words, lines=lines).stderr
    assert [name for name, _ in server.calls if name != "hello"] == calls
    for words_ in ("The daemon is draining", "Queue night is paused", "needs 5 slots, but there are 2 in all"):
        assert words_ in said


def test_a_daemon_that_gives_no_hint_is_asked_for_none(server: FakeServer) -> None:
    server.answers["enqueue"] = lambda _: JOB
    assert enqueue(server, "true").stderr == ""
    assert [name for name, _ in server.calls] == ["hello", "enqueue"]


def test_the_hint_is_no_part_of_the_job_that_is_printed(server: FakeServer) -> None:
    assert "hint" not in enqueue(server, "--json", "true").stdout


def test_workers_that_leave_or_wait_for_their_client_take_no_jobs() -> None:
    async def scenario() -> None:
        nowhere = cast(Any, SimpleNamespace())
        pool = WorkerPool(nowhere, Clock(None), lambda _: None, nowhere, "", Inbox())
        pool.workers.update({number: Worker(number, number % 4, 1, 0) for number in range(1, 9)})
        assert pool.runs.capacity() == Capacity(8, 8)
        pool.workers[1].draining = True
        pool.workers[5].is_refused = True
        pool.awaiting_client.add(2)
        assert pool.runs.capacity() == Capacity(4, 4)
        pool.dedication[3] = 7
        assert pool.runs.capacity() == Capacity(2, 4), "those that are kept for one job are slots all the same"

        store, setting = cast(Any, SimpleNamespace(paused={"a", "b"})), {"slots": None}
        hints = Hints(store, pool.runs, setting.__getitem__, lambda: True)
        assert hints.of(("b", "c")) == Hint(["b"], 2, 4, draining=True)
        setting["slots"] = cast(Any, 16)
        assert hints.of(()) == Hint([], 2, 16, draining=True)

    asyncio.run(scenario())
