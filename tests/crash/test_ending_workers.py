"""Workers that are there and take no job: told to end, or dead and being settled. What is told of them is true."""

import os
import signal

from tests.crash.stage import DEADLINE_S, Stage
from tests.support.eventually import eventually


def rules(stage: Stage, job: str) -> dict[str, str]:
    return {rule["rule"]: rule["text"] for rule in stage.ask("job.explain", id=job)["rules"]}


def stubborn(stage: Stage) -> str:
    """A worker runs a job that no TERM ends, and has said that it does. The worker's name."""
    [worker] = stage.scale(1)
    command = "trap '' TERM; echo begun; while :; do sleep 1; done"
    stage.ask("enqueue", id="it", command=command, kill_grace=600)
    eventually(lambda: stage.ask("job.logs", id="it")["data"], deadline=DEADLINE_S)
    os.kill(worker["pid"], signal.SIGKILL)
    return str(worker["id"])


def test_explain_tells_that_a_run_is_being_ended_whose_worker_is_gone(stage: Stage) -> None:
    with stage.restarter:
        name = stubborn(stage)
        eventually(lambda: "running" not in rules(stage, "it"), deadline=DEADLINE_S)
        assert f"worker {name} has ended" in rules(stage, "it")["recovery"]
        shown = stage.home.ok("explain", "it")
        assert "kill_grace" in shown
        assert "May start" not in shown
        stage.restarter.end()
        eventually(lambda: "recovery" in rules(stage, "it"), deadline=DEADLINE_S)
        stage.ask("job.cancel", ids=["it"])
        assert "It is cancelled; its worker" in rules(stage, "it")["recovery"]
        stage.home.cli("daemon", "stop", "--now")


def test_workers_that_are_told_to_end_are_none_that_take_jobs(stage: Stage) -> None:
    with stage.restarter:
        stage.scale(1)
        stage.run_gated("going")
        assert stage.ask("status")["workers"] == 1
        stage.ask("worker.stop", wait=False)
        assert stage.ask("status")["workers"] == 0
        assert "Active Workers: 0" in stage.home.ok("status")
        said = stage.home.cli("enqueue", "--id", "next", "true").stderr
        assert "No workers are active, so it waits" in said
        assert rules(stage, "next") == {"workers": "All workers have been told to end, and start no more jobs."}
        waited = stage.home.cli("wait", "next", "--timeout", "0.1")
        assert (waited.returncode, "No workers are active" in waited.stderr) == (124, True)
        stage.open_gate()
        eventually(lambda: stage.workers() == [], deadline=DEADLINE_S)
        assert rules(stage, "next") == {"workers": "There are no workers."}
