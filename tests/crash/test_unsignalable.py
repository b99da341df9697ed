"""A job that may not be signalled: it is said, its worker is free again, and it never runs twice at once."""

import os
import signal
from typing import Any

import pytest

from tests.crash.stage import DEADLINE_S, Stage
from tests.crash.untouchable import untouchable
from tests.support.eventually import eventually

WORDS = "not permitted to signal pid {pid} ({name})"


@pytest.fixture
def command(stage: Stage) -> str:
    """What the job `it` does: neither the stage's daemons nor their workers may signal it."""
    return untouchable(stage, "it")


def begun(stage: Stage, command: str, **keys: Any) -> int:
    """The job has begun; the pid of its leader."""
    stage.ask("enqueue", id="it", command=command, kill_grace=0.2, **keys)
    return leader(stage, run=1)


def leader(stage: Stage, *, run: int) -> int:
    mark = f"QUEUECTL_RUN={run}".encode()

    def find() -> list[int]:
        found = []
        for pid in stage.processes("it"):
            with open(f"/proc/{pid}/environ", "rb") as environ, open(f"/proc/{pid}/comm") as comm:
                if mark in environ.read().split(b"\0") and comm.read().strip() in ("sleep", "untouchable"):
                    found.append(pid)
        return found

    pids: list[int] = eventually(find, deadline=DEADLINE_S)
    return pids[0]


def name_of(pid: int) -> str:
    with open(f"/proc/{pid}/comm") as file:
        return file.read().strip()


def rules(stage: Stage) -> dict[str, str]:
    told = stage.ask("job.explain", id="it")
    return {rule["rule"]: rule["text"] for rule in told["rules"]}


def state_is(stage: Stage, *states: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        told = stage.job("it")
        return told if told["state"] in states else None

    told: dict[str, Any] = eventually(look, deadline=DEADLINE_S)
    return told


def test_past_its_time_out_it_is_left_behind_and_its_next_run_waits_for_it(stage: Stage, command: str) -> None:
    with stage.restarter:
        stage.scale(1)
        pid = begun(stage, command, timeout=0.5, max_retries=2, backoff_base=1)
        words = WORDS.format(pid=pid, name=name_of(pid))
        told = state_is(stage, "failed")
        [attempt] = told["attempts_list"]
        assert attempt["reason"] == told["reason"]
        assert attempt["reason"].startswith("timeout")
        assert attempt["reason"].endswith(words)
        assert f"(pid {pid})" in attempt["left_behind"]
        stage.enqueue(stage.marks.job("next"))  # the only worker is free
        stage.wait()
        stage.restarter.end()
        assert words in rules(stage)["survivors"]
        assert f"may still run as pid {pid}" in rules(stage)["survivors"]
        stage.enqueue(stage.marks.job("later"))
        stage.wait()
        assert stage.job("it")["runs"] == 1, "its backoff of 1 s is long over, and its first run lives"
        os.kill(pid, signal.SIGKILL)
        second = leader(stage, run=2)
        assert state_is(stage, "dead")["attempts"] == 2
        assert f"may still run as pid {second}" in rules(stage)["survivors"]
        os.kill(second, signal.SIGKILL)
        eventually(lambda: "survivors" not in rules(stage), deadline=DEADLINE_S)
    assert stage.marks.text("it") == "s 1\ns 2\n"


def test_cancelled_it_says_so_and_a_retry_waits(stage: Stage, command: str) -> None:
    with stage.restarter:
        stage.scale(1)
        pid = begun(stage, command)
        stage.ask("job.cancel", ids=["it"])
        eventually(lambda: stage.job("it")["attempts_list"], deadline=DEADLINE_S)
        words = WORDS.format(pid=pid, name=name_of(pid))
        assert stage.job("it")["attempts_list"][0]["reason"] == f"cancelled; {words}"
        assert words in rules(stage)["survivors"]
        eventually(lambda: [worker["state"] for worker in stage.workers()] == ["idle"], deadline=DEADLINE_S)
        stage.ask("job.retry", ids=["it"])
        stage.ask("job.hold", ids=["it"])
        stage.ask("job.release", ids=["it"])
        stage.enqueue(stage.marks.job("next"))
        stage.wait()
        assert (stage.job("it")["state"], stage.job("it")["runs"]) == ("pending", 1)
        os.kill(pid, signal.SIGKILL)
        os.kill(leader(stage, run=2), signal.SIGKILL)
        state_is(stage, "dead", "failed")


def test_when_its_worker_was_killed_it_does_not_run_again_beside_itself(stage: Stage, command: str) -> None:
    with stage.restarter:
        stage.scale(1)
        pid = begun(stage, command)
        os.kill(stage.worker_of("it"), signal.SIGKILL)
        told = state_is(stage, "pending")
        assert (told["crashes"], told["runs"]) == (1, 1)
        assert WORDS.format(pid=pid, name=name_of(pid)) in told["attempts_list"][0]["reason"]
        stage.enqueue(stage.marks.job("next"))
        stage.wait()
        assert stage.job("it")["runs"] == 1
        os.kill(pid, signal.SIGKILL)
        os.kill(leader(stage, run=2), signal.SIGKILL)


def test_a_stop_names_what_it_leaves_and_the_next_daemon_knows_of_it(stage: Stage, command: str) -> None:
    with stage.restarter:
        stage.scale(1)
        pid = begun(stage, command)
        done = stage.home.cli("daemon", "stop", "--now")
        words = WORDS.format(pid=pid, name=name_of(pid))
        assert (done.returncode, words in done.stderr) == (0, True), done.stderr
        assert words in stage.home.daemon_log()
        assert words in rules(stage)["survivors"]
        assert stage.job("it")["runs"] == 1
        os.kill(pid, signal.SIGKILL)
