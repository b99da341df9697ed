"""A worker that is stopped, or does not answer: it is told to go on, else killed and replaced; nothing waits for it."""

import os
import signal
import sqlite3

import pytest

from tests.crash.stage import DEADLINE_S, Stage
from tests.crash.test_failpoints import arm
from tests.support.eventually import eventually

AGAIN_AND_AGAIN = "trap '' TERM; while :; do kill -STOP $PPID; sleep 0.05; done"
"""A job that stops its worker whenever that goes on."""
AT_MOST_S = 45
"""More than a stop needs on a busy machine; far less than for ever."""


def stopped(stage: Stage, pid: int) -> None:
    """The worker is stopped from now on."""
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: _state(pid) == "T", deadline=DEADLINE_S)


def _state(pid: int) -> str:
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]


def all_idle(stage: Stage, count: int) -> bool:
    return [worker["state"] for worker in stage.workers()] == ["idle"] * count


def test_a_job_that_stops_its_worker_times_out_and_the_worker_goes_on(stage: Stage) -> None:
    with stage.restarter:
        [worker] = stage.scale(1)
        stage.ask("enqueue", id="it", command="kill -STOP $PPID; exec sleep 1000", timeout=0.5, max_retries=1)
        assert stage.ask("job.wait", ids=["it"], timeout=DEADLINE_S)["done"]
        told = stage.job("it")
        assert told["reason"].startswith("timeout")
        stage.enqueue(stage.marks.job("next"))
        stage.finish(workers=1)
        assert stage.workers()[0]["pid"] == worker["pid"]


def test_one_that_stops_it_again_and_again_costs_the_worker_and_is_no_crash(stage: Stage) -> None:
    with stage.restarter:
        [worker] = stage.scale(1)
        stage.ask("enqueue", id="it", command=AGAIN_AND_AGAIN, timeout=0.5, kill_grace=0.2, max_retries=1)
        assert stage.ask("job.wait", ids=["it"], timeout=DEADLINE_S)["done"]
        told = stage.job("it")
        assert (told["state"], told["attempts"], told["crashes"]) == ("dead", 1, 0)
        assert told["reason"].startswith("timeout")
        assert "did not answer" in told["reason"]
        stage.enqueue(stage.marks.job("next"))
        stage.finish(workers=1)
        assert stage.workers()[0]["pid"] != worker["pid"]
        assert not stage.processes("it")


@pytest.mark.parametrize("what", ["daemon", "worker"])
def test_a_stop_ends_though_the_worker_is_kept_stopped(stage: Stage, what: str) -> None:
    with stage.restarter:
        [busy, idle] = stage.scale(2)
        stage.ask("enqueue", id="it", command=AGAIN_AND_AGAIN, kill_grace=0.2)
        eventually(lambda: any(worker["job"] == "it" for worker in stage.workers()), deadline=DEADLINE_S)
        running = stage.worker_of("it")
        eventually(lambda: _state(running) == "T", deadline=DEADLINE_S)
        stopped(stage, busy["pid"] if running == idle["pid"] else idle["pid"])
        done = stage.home.cli(what, "stop", "--now", timeout=AT_MOST_S)
        assert (done.returncode, "left behind" in done.stderr) == (0, False), done.stderr
        told = stage.job("it")
        assert (told["state"], told["attempts"], told["crashes"]) == ("pending", 0, 0)
        assert not stage.processes("it")
        assert what == "daemon" or stage.workers() == []  # the next daemon brings them back


def test_an_idle_one_that_is_given_a_job_goes_on(stage: Stage) -> None:
    with stage.restarter:
        [worker] = stage.scale(1)
        stopped(stage, worker["pid"])
        stage.enqueue(stage.marks.job("it"))
        stage.finish(workers=1)
    assert stage.marks.text("it") == "s 1\ne 1\n"


def test_a_job_that_ends_while_its_worker_is_stopped_is_recorded(stage: Stage) -> None:
    with stage.restarter:
        stage.scale(1)
        job = stage.run_gated()
        worker = stage.worker_of(job.id)
        stopped(stage, worker)
        stage.open_gate()
        stage.finish(workers=1)
        assert stage.workers()[0]["pid"] == worker
    assert stage.marks.text("gated") == "s 1\ne 1\n"


def test_one_that_is_stopped_when_the_next_daemon_starts_goes_on(stage: Stage) -> None:
    with stage.restarter:
        stage.scale(1)
        job = stage.run_gated()
        stopped(stage, stage.worker_of(job.id))
        stage.restarter.end()
        stage.open_gate()
        stage.finish(workers=1)
    assert stage.marks.text("gated") == "s 1\ne 1\n"


def test_one_that_is_stopped_before_it_says_hello_comes_up(stage: Stage) -> None:
    fired = arm(stage, "worker.started=stop")
    with stage.restarter:
        stage.scale(2)
        assert fired.exists()
        assert all_idle(stage, 2)


def test_a_stop_ends_though_the_store_is_locked(stage: Stage) -> None:
    with stage.restarter:
        stage.scale(1)
        job = stage.run_gated(kill_grace=0.2)
        somebody_else = sqlite3.connect(stage.home.store, isolation_level=None)
        somebody_else.execute("BEGIN IMMEDIATE")
        stage.restarter.hold()
        done = stage.home.cli("daemon", "stop", "--now", timeout=2 * AT_MOST_S)
        assert (done.returncode, "left behind" in done.stderr) == (0, True), done.stderr
        assert not stage.processes(job.id)
        somebody_else.close()
        stage.restarter.start()
        stage.open_gate()
        stage.scale(1)
        stage.wait()
    assert stage.marks.text(job.id) == "s 1\ns 2\ne 2\n"
