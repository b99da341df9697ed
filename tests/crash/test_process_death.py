"""Daemon, workers or both are killed or stopped with jobs running."""

import os
import signal
import sqlite3
from pathlib import Path

import pytest

from queuectl_client import Client
from queuectl_client.errors import DaemonUnreachable
from tests.crash.stage import DEADLINE_S, Stage
from tests.support.eventually import eventually

KILL = signal.SIGKILL


def test_a_daemon_killed_again_and_again_disturbs_no_job(stage: Stage) -> None:
    with stage.restarter:
        stage.scale(4)
        running = [stage.run_gated(f"gated-{n}") for n in range(3)]
        stage.enqueue(*(stage.marks.job(f"job-{n}", meanwhile="sleep 0.05", exit_code=n % 3) for n in range(20)))
        for _ in range(5):
            assert stage.restarter.end() == -KILL
            stage.enqueue(stage.marks.job(f"late-{len(stage.jobs)}"))
        stage.open_gate()
        stage.finish(workers=4)
    for job in stage.jobs:
        # A claim that was still on its way when the daemon died has used up a number.
        assert stage.marks.text(job.id).replace("\n", " ").split()[::2] == ["s", "e"]
    assert [stage.marks.text(job.id) for job in running] == ["s 1\ne 1\n"] * 3


# Of the processes that earlier runs have noted, those that can still do something: zombies cannot.
LOOK = "for p in $(cat {pids}); do grep -q '^State:.[^ZX]' /proc/$p/status 2>/dev/null && echo $p >> {alive}; done"


@pytest.mark.parametrize("prey", ["worker", "its group", "daemon, worker", "worker, daemon"])
def test_a_killed_workers_job_is_gone_before_it_runs_again(stage: Stage, prey: str, tmp_path: Path) -> None:
    """With a child in a session of its own, which no group reaches."""
    pids, alive = tmp_path / "pids", tmp_path / "alive"
    pids.touch()
    gated = stage.gated()
    leave = f"setsid sleep 1000 & echo $$ $! >> {pids}"
    look = LOOK.format(pids=pids, alive=alive)
    job = gated._replace(command=f"{look}; {leave}; {gated.command}")
    with stage.restarter:
        stage.scale(2)
        stage.enqueue(job)
        eventually(lambda: stage.marks.text(job.id), deadline=DEADLINE_S)
        worker, daemon = stage.worker_of(job.id), stage.restarter.daemon()
        if prey == "its group":
            os.killpg(worker, KILL)
        else:
            for name in prey.split(", "):
                os.kill(worker if name == "worker" else daemon.pid, KILL)
        eventually(lambda: stage.marks.text(job.id).count("s") == 2, deadline=DEADLINE_S)
        stage.open_gate()
        stage.finish(workers=2)
        told = stage.job(job.id)
    assert (told["crashes"], told["attempts"], told["runs"]) == (1, 0, 2)
    assert told["attempts_list"][0]["crashed"]
    assert not alive.exists(), "processes of the first run lived when the second began"


def test_daemon_and_all_workers_killed_at_once_their_orphans_are_ended(stage: Stage) -> None:
    with stage.restarter:
        stage.scale(3)
        jobs = [stage.run_gated(f"gated-{n}") for n in range(3)]
        orphans = [pid for job in jobs for pid in stage.processes(job.id)]
        for pid in [worker["pid"] for worker in stage.workers()] + [stage.restarter.daemon().pid]:
            os.kill(pid, KILL)
        eventually(lambda: all(stage.marks.text(job.id).count("s") == 2 for job in jobs), deadline=DEADLINE_S)
        assert not {pid for job in jobs for pid in stage.processes(job.id)} & set(orphans)
        stage.open_gate()
        stage.finish(workers=3)
        assert [stage.job(job.id)["crashes"] for job in jobs] == [1, 1, 1]


def test_workers_killed_at_once_are_each_replaced_once_and_leave_nothing(stage: Stage) -> None:
    with stage.restarter:
        workers = stage.scale(4)
        stage.enqueue(*(stage.gated(f"gated-{n}") for n in range(4)))
        eventually(lambda: len(list(stage.home.logs.glob("worker-*"))) == 4, deadline=DEADLINE_S)
        stage.open_gate()
        stage.wait()
        for worker in workers:
            os.kill(worker["pid"], KILL)
        eventually(lambda: {worker["state"] for worker in stage.workers()} == {"idle"}, deadline=DEADLINE_S)
        stage.enqueue(stage.marks.job("after"))
        stage.finish(workers=4)


@pytest.mark.parametrize("busy", [False, True], ids=["an idle worker", "a busy worker"])
def test_a_worker_that_dies_while_the_store_is_locked_is_replaced_once_it_is_free(stage: Stage, busy: bool) -> None:
    with stage.restarter:
        [worker] = stage.scale(1)
        if busy:
            stage.run_gated()
        somebody_else = sqlite3.connect(stage.home.store, isolation_level=None)
        somebody_else.execute("BEGIN IMMEDIATE")
        os.kill(worker["pid"], KILL)
        eventually(lambda: "has locked the store" in stage.home.daemon_log(), deadline=DEADLINE_S)
        somebody_else.close()
        stage.open_gate()
        stage.enqueue(stage.marks.job("after"))
        stage.finish(workers=1)


def test_a_job_that_may_run_only_once_is_dead_when_its_worker_was_killed(stage: Stage) -> None:
    with stage.restarter:
        stage.scale(1)
        job = stage.run_gated(once=True)
        os.kill(stage.worker_of(job.id), KILL)
        stage.wait()
        told = stage.job(job.id)
        assert not stage.processes(job.id)
    assert (told["state"], told["runs"], told["crashes"]) == ("dead", 1, 1)
    assert told["reason"].startswith("interrupted")


def test_a_job_that_kills_its_worker_is_dead_past_the_crash_limit(stage: Stage) -> None:
    with stage.restarter:
        stage.ask("config.set", key="crash_limit", value=1)
        stage.scale(1)
        stage.ask("enqueue", id="killer", command="kill -9 $PPID; sleep 1000", kill_grace=0.1)
        assert stage.ask("job.wait", ids=["killer"], timeout=DEADLINE_S)["done"]
        told = stage.job("killer")
        assert not stage.processes("killer")
        stage.enqueue(stage.marks.job("after"))
        stage.finish(workers=1)
    assert (told["state"], told["attempts"], told["crashes"]) == ("dead", 0, 2)
    assert told["reason"].startswith("crash-limit")


def test_a_job_killed_from_outside_is_an_ordinary_failure(stage: Stage) -> None:
    """As the OOM killer does it."""
    with stage.restarter:
        stage.scale(1)
        job = stage.run_gated()
        [leader] = stage.processes(job.id)
        os.kill(leader, KILL)
        stage.wait()
        told = stage.job(job.id)
    assert (told["state"], told["attempts"], told["crashes"], told["signal"]) == ("dead", 1, 0, 9)
    assert told["reason"].startswith("signal 9")


def test_a_stopped_daemon_is_told_of_and_its_jobs_end(stage: Stage) -> None:
    with stage.restarter, Client(autostart=False, environ=stage.home.env, timeout=0.3) as client:
        stage.scale(1)
        stage.run_gated()
        client.status()
        daemon = stage.restarter.daemon()
        daemon.send_signal(signal.SIGSTOP)
        with pytest.raises(DaemonUnreachable, match="no answer within") as caught:
            client.status()
        assert caught.value.exit_code == 3
        stage.open_gate()
        eventually(lambda: "e" in stage.marks.text("gated"))
        daemon.send_signal(signal.SIGCONT)
        stage.finish(workers=1)
    assert stage.marks.text("gated") == "s 1\ne 1\n"


@pytest.mark.parametrize("how", ["timeout", "cancel"])
def test_the_daemon_ends_a_job_whose_worker_is_stopped(stage: Stage, how: str) -> None:
    with stage.restarter:
        stage.scale(2)
        job = stage.run_gated(**({"timeout": 1.5} if how == "timeout" else {}), max_retries=2, backoff_base=1)
        worker = stage.worker_of(job.id)
        os.kill(worker, signal.SIGSTOP)
        stage.enqueue(stage.marks.job("meanwhile"))  # the other worker goes on
        eventually(lambda: stage.marks.text("meanwhile") == "s 1\ne 1\n", deadline=DEADLINE_S)
        if how == "cancel":
            stage.ask("job.cancel", ids=[job.id])
        eventually(lambda: not _lives(stage, job.id, run=1), deadline=DEADLINE_S)
        if how == "timeout":
            # The run of the stopped worker is over; the job runs again, and well, elsewhere.
            stage.open_gate()
            stage.wait()
        os.kill(worker, signal.SIGCONT)
        eventually(lambda: {each["state"] for each in stage.workers()} == {"idle"}, deadline=DEADLINE_S)
        told = stage.job(job.id)
    if how == "cancel":
        assert (told["state"], told["runs"]) == ("cancelled", 1)
        assert stage.marks.text(job.id) == "s 1\n"
    else:
        assert (told["state"], told["runs"], told["attempts"], told["crashes"]) == ("completed", 2, 1, 0)
        assert told["attempts_list"][0]["reason"].startswith("timeout")
        assert stage.marks.text(job.id) == "s 1\ns 2\ne 2\n"


def test_a_stopped_worker_does_not_make_its_job_run_twice(stage: Stage) -> None:
    with stage.restarter:
        stage.scale(2)
        job = stage.run_gated()
        worker = stage.worker_of(job.id)
        os.kill(worker, signal.SIGSTOP)
        stage.restarter.end()  # the next daemon has only the worker's process to go by
        stage.open_gate()
        stage.enqueue(stage.marks.job("meanwhile"))
        eventually(lambda: stage.marks.text("meanwhile") == "s 1\ne 1\n", deadline=DEADLINE_S)
        assert stage.job(job.id)["state"] == "processing"
        os.kill(worker, signal.SIGCONT)
        stage.finish(workers=2)
    assert stage.marks.text(job.id) == "s 1\ne 1\n"


@pytest.mark.parametrize("down", [True, False], ids=["no daemon when the grace is over", "the next daemon is there"])
def test_the_kill_ladder_is_carried_on_when_the_daemon_dies(stage: Stage, down: bool) -> None:
    with stage.restarter:
        stage.scale(1)
        command = f"trap '' TERM; echo s > {stage.marks.folder}/stubborn; while :; do sleep 5; done"
        stage.ask("enqueue", id="stubborn", command=command, kill_grace=1.5)
        eventually(lambda: stage.marks.text("stubborn"), deadline=DEADLINE_S)
        stage.ask("job.cancel", ids=["stubborn"])
        assert stage.processes("stubborn")
        stage.restarter.end(stay_down=down)
        eventually(lambda: not stage.processes("stubborn"), deadline=DEADLINE_S)
        stage.restarter.start()
        stage.enqueue(stage.marks.job("after"))
        stage.finish(workers=1)
        told = stage.job("stubborn")
    assert (told["state"], told["runs"], told["attempts_list"][0]["signal"]) == ("cancelled", 1, 9)


def _lives(stage: Stage, job: str, *, run: int) -> bool:
    mark = f"QUEUECTL_RUN={run}".encode()
    found = [Path(f"/proc/{pid}/environ") for pid in stage.processes(job)]
    return any(mark in path.read_bytes().split(b"\0") for path in found if path.exists())
