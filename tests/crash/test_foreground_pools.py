"""A foreground pool whose client is gone, with the daemon that knew of it or without."""

import os
import signal
import subprocess
from typing import Any

from tests.crash.stage import DEADLINE_S, Stage
from tests.support.eventually import eventually

KILL = signal.SIGKILL


def foreground(stage: Stage, count: int) -> subprocess.Popen[str]:
    """A client in the foreground whose workers are up."""
    client = stage.home.popen("worker", "start", "--count", str(count), stderr=subprocess.DEVNULL, stdout=-3)
    eventually(lambda: len(stage.workers()) == count, deadline=DEADLINE_S)
    return client


def states(stage: Stage, *jobs: str) -> list[str]:
    return [stage.job(job)["state"] for job in jobs]


def test_after_a_total_crash_nothing_starts_for_a_pool_that_nobody_takes_up(stage: Stage) -> None:
    """One worker of two survives: it finishes its job, and neither gets another one nor gets company."""
    with stage.restarter:
        client = foreground(stage, 2)
        kept, lost = stage.run_gated("kept"), stage.run_gated("lost")
        stage.enqueue(stage.marks.job("waiting"))
        victim, survivor = stage.worker_of(lost.id), stage.worker_of(kept.id)
        os.kill(stage.restarter.daemon().pid, signal.SIGSTOP)  # so that it sees nothing of the two that go first
        client.kill()
        os.kill(victim, KILL)
        stage.restarter.end()
        eventually(lambda: states(stage, "lost") == ["pending"], deadline=DEADLINE_S)
        # The job is let go first, its dead worker is forgotten after that.
        eventually(lambda: [worker["pid"] for worker in stage.workers()] == [survivor], deadline=DEADLINE_S)
        told = stage.ask("job.explain", id="waiting")
        assert [rule["rule"] for rule in told["rules"]][-1] == "workers", told
        stage.open_gate()
        eventually(lambda: states(stage, "kept") == ["completed"], deadline=DEADLINE_S)
        assert {worker["pid"]: worker["state"] for worker in stage.workers()} == {survivor: "idle"}
        assert stage.ask("status")["workers"] == 0, "it takes no job"
        eventually(lambda: stage.workers() == [], deadline=DEADLINE_S)
        assert "no client reclaimed worker pool" in stage.home.daemon_log()
        assert states(stage, "lost", "waiting") == ["pending", "pending"]
        assert (stage.marks.text("lost"), stage.marks.text("waiting")) == ("s 1\n", "")
        stage.scale(1)
        stage.finish(workers=1)
        assert len(stage.workers()) == 1


def test_a_pool_that_its_client_takes_up_is_filled_and_goes_on(stage: Stage) -> None:
    with stage.restarter:
        client = foreground(stage, 2)
        kept, lost = stage.run_gated("kept"), stage.run_gated("lost")
        before: list[dict[str, Any]] = stage.workers()
        os.kill(stage.restarter.daemon().pid, signal.SIGSTOP)
        os.kill(next(worker["pid"] for worker in before if worker["job"] == lost.id), KILL)
        stage.restarter.end()
        stage.open_gate()
        stage.finish(workers=2)
        assert len({worker["pid"] for worker in stage.workers()} & {worker["pid"] for worker in before}) == 1
        client.send_signal(signal.SIGTERM)
        assert client.wait(DEADLINE_S) == 0
    assert stage.marks.text(kept.id) == "s 1\ne 1\n"


def test_a_client_that_comes_back_too_late_says_that_its_workers_have_ended(stage: Stage) -> None:
    with stage.restarter:
        client = stage.home.popen("worker", "start")
        stage.run_gated("first")
        assert client.stdout is not None
        assert "job first" in client.stdout.readline()  # so it has subscribed
        client.send_signal(signal.SIGSTOP)
        stage.open_gate()
        stage.restarter.end()
        eventually(lambda: "no client reclaimed worker pool" in stage.home.daemon_log(), deadline=DEADLINE_S)
        eventually(lambda: stage.workers() == [], deadline=DEADLINE_S)
        client.send_signal(signal.SIGCONT)
        _, said = client.communicate(timeout=DEADLINE_S)
        assert client.returncode == 1
        assert "the workers have ended" in said
