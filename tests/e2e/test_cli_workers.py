"""`queuectl worker`: the foreground pool as a person sees it, and workers from anywhere."""

import os
import re
import signal
import subprocess
from collections.abc import Sequence
from uuid import uuid4

from queuectl_client import Client
from tests.support.daemon import Home, terminate
from tests.support.eventually import eventually
from tests.support.terminal import Terminal

POOL_GONE_S = 25
"""A pool that nobody owns waits 10 s for its client, then ends."""


def line_of(process: "subprocess.Popen[str]") -> str:
    """The next line that a `queuectl` prints; the test's own time limit ends the wait."""
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


def workers(home: Home) -> Sequence[str]:
    """The ids of all workers."""
    return [one["id"] for one in home.json("worker", "list")]


def wait_for_workers(home: Home, count: int, deadline: float = POOL_GONE_S) -> None:
    """Return once there are so many workers."""
    eventually(lambda: len(workers(home)) == count, deadline, f"there are not {count} workers")


def test_a_foreground_pool_shows_what_it_does(home: Home) -> None:
    home.ok("enqueue", "echo hi")
    pool = home.popen("worker", "start")
    assert line_of(pool) == "[Worker 1] Processing job job_1"
    assert line_of(pool) == "[Worker 1] Job completed"
    home.ok("enqueue", "exit 3", "--max-retries", "2", "--backoff-base", "1")
    shown = [line_of(pool) for _ in range(4)]
    assert shown == [
        "[Worker 1] Processing job job_2",
        "[Worker 1] Job failed: exit 3, retry in 1s",
        "[Worker 1] Processing job job_2",
        "[Worker 1] Job failed: exit 3; moved to the DLQ",
    ]
    assert terminate(pool) == 0
    assert workers(home) == []


def test_workers_are_numbered_per_pool(home: Home) -> None:
    home.ok("enqueue", "-f", "-", input="sleep 0.3\n" * 4)
    pools = [home.popen("worker", "start", "--count", "2") for _ in range(2)]
    home.ok("wait")
    numbers = set()
    for pool in pools:
        assert terminate(pool) == 0
        assert pool.stdout is not None
        numbers |= set(re.findall(r"\[Worker (\d+)\]", pool.stdout.read()))
    assert numbers
    assert numbers <= {"1", "2"}


def test_sigterm_lets_the_current_job_finish_and_leaves_the_next(home: Home) -> None:
    mark = home.path / "mark"
    home.ok("enqueue", f"echo s >> {mark}; sleep 1; echo e >> {mark}")
    home.ok("enqueue", "true")
    pool = home.popen("worker", "start")
    eventually(mark.exists, message="the job does not run")
    assert terminate(pool) == 0
    assert mark.read_text() == "s\ne\n"
    assert home.states() == {"job_1": "completed", "job_2": "pending"}


def test_ctrl_c_never_reaches_the_job_and_a_second_one_leaves_it_to_the_workers(home: Home) -> None:
    mark = home.path / "mark"
    home.ok("enqueue", f"echo s >> {mark}; sleep 2; echo e >> {mark}")
    pool = Terminal(home, ["worker", "start"])
    pool.wait_for(b"Processing job job_1")
    eventually(mark.exists, message="the job does not run")
    pool.press(b"\x03")
    pool.wait_for(b"Stopping")
    pool.press(b"\x03")
    assert pool.end() == 130
    assert mark.read_text() == "s\n"
    wait_for_workers(home, 0)
    assert mark.read_text() == "s\ne\n"
    assert home.states() == {"job_1": "completed"}


def test_worker_stop_from_elsewhere_ends_the_foreground_client(home: Home) -> None:
    pool = home.popen("worker", "start", "--count", "2")
    wait_for_workers(home, 2)
    done = home.cli("worker", "stop")
    assert done.returncode == 0
    assert "Stopped 2 workers" in done.stderr
    assert pool.wait(timeout=20) == 0


def test_a_killed_foreground_client_leaves_nothing_that_nobody_controls(home: Home) -> None:
    pool = home.popen("worker", "start", "--count", "2")
    wait_for_workers(home, 2)
    pool.kill()
    wait_for_workers(home, 0)


def test_a_worker_that_was_killed_is_replaced_and_the_client_stays(home: Home) -> None:
    pool = home.popen("worker", "start")
    wait_for_workers(home, 1)
    before = home.json("worker", "list")[0]
    os.kill(before["pid"], signal.SIGKILL)
    eventually(lambda: workers(home) not in ([], [before["id"]]), 20, "it is not replaced")
    home.ok("enqueue", "true")
    assert line_of(pool) == "[Worker 1] Processing job job_1"
    assert pool.poll() is None
    assert terminate(pool) == 0


def test_a_pool_whose_answer_was_lost_is_the_same_when_it_is_asked_for_again(home: Home) -> None:
    """Not a second one beside it, whose client would not see what the first one does."""
    home.ok("daemon", "start")
    request = str(uuid4())
    with Client(autostart=False, environ=home.env) as client:
        first = client.call("worker.start", count=2, request=request)
        os.kill(home.daemon_pid(), signal.SIGKILL)
    home.ok("daemon", "start")
    home.ok("run", "true")  # by a worker of its own: those of the pool wait for their client
    wait_for_workers(home, 2)
    with Client(autostart=False, environ=home.env) as client:
        again = client.call("worker.start", count=2, request=request)
        assert (again["pool"], again["event_seq"]) == (first["pool"], first["event_seq"])
        assert [one["pid"] for one in again["workers"]] == [one["pid"] for one in first["workers"]]
        assert [one["pid"] for one in client.workers()] == [one["pid"] for one in first["workers"]]
        client.call("worker.stop")
        new = client.call("worker.start", count=1, request=request)
        assert new["pool"] > first["pool"], "that one has ended"


def test_a_foreground_pool_is_taken_up_at_the_next_daemon(home: Home) -> None:
    pool = home.popen("worker", "start")
    wait_for_workers(home, 1)
    before = workers(home)
    os.kill(home.daemon_pid(), signal.SIGKILL)
    home.ok("daemon", "start")
    home.ok("enqueue", "true")
    assert line_of(pool) == "[Worker 1] Processing job job_1"
    assert line_of(pool) == "[Worker 1] Job completed"
    assert workers(home) == before
    home.ok("daemon", "restart")
    home.ok("enqueue", "true")
    assert line_of(pool) == "[Worker 1] Processing job job_2"
    assert terminate(pool) == 0


def test_detached_workers_scale_stop_and_come_back(home: Home) -> None:
    assert "Started 2 workers" in home.cli("worker", "start", "-d", "--count", "2").stderr
    assert len(workers(home)) == 2
    assert home.json("status")["workers"] == 2
    home.ok("worker", "scale", "3")
    assert len(workers(home)) == 3
    home.ok("worker", "stop", "--count", "1")
    assert len(workers(home)) == 2
    home.ok("daemon", "stop")
    home.ok("daemon", "start")
    wait_for_workers(home, 2)
    home.ok("worker", "stop")
    assert workers(home) == []


def test_stopping_where_there_are_no_workers_says_so(home: Home) -> None:
    for _ in range(2):
        done = home.cli("worker", "stop")
        assert (done.returncode, done.stdout) == (0, "")
        assert "No workers are running" in done.stderr
        assert not home.socket.exists()
    home.ok("daemon", "start")
    assert "No workers are running" in home.cli("worker", "stop").stderr
    assert home.cli("worker", "list").stdout == ""
    assert home.json("worker", "list") == []


def test_stop_now_ends_the_running_job(home: Home) -> None:
    home.ok("worker", "start", "-d")
    home.ok("enqueue", "sleep 600", "--max-retries", "0")
    eventually(lambda: home.states() == {"job_1": "processing"}, message="it does not run")
    home.ok("worker", "stop", "--now")
    assert home.states()["job_1"] != "processing"


def test_bad_counts(home: Home) -> None:
    for words in (["start", "--count", "0"], ["start", "--count", "x"], ["scale", "--", "-1"], ["scale"]):
        assert home.cli("worker", *words).returncode == 2
    assert not home.socket.exists()


def test_a_stop_that_is_interrupted_says_that_the_workers_end_all_the_same(home: Home) -> None:
    home.ok("worker", "start", "-d")
    home.ok("enqueue", "sleep 600")
    eventually(lambda: home.states() == {"job_1": "processing"}, message="it does not run")
    stop = home.popen("worker", "stop")
    eventually(lambda: home.json("worker", "list")[0]["state"] == "draining", message="it goes on")
    stop.send_signal(signal.SIGINT)
    assert "The workers end when their jobs have ended." in stop.communicate(timeout=20)[1]
    assert stop.returncode == 130
    home.ok("cancel", "job_1")
    eventually(lambda: home.json("worker", "list") == [], 20, "it stays")
