"""`queuectl run`: the command's output and exit code, as if it had been run here."""

import signal

import pytest

from queuectl_client import Client
from tests.support.daemon import Home
from tests.support.eventually import eventually
from tests.support.terminal import Terminal


def test_run_works_on_a_fresh_machine(home: Home) -> None:
    done = home.cli("run", "echo hi")
    assert (done.returncode, done.stdout) == (0, "hi\n")
    assert home.states() == {"job_1": "completed"}
    eventually(lambda: home.json("worker", "list") == [], 20, "its worker stays")


@pytest.mark.parametrize(
    "words, code",
    [
        (["exit 7"], 7),
        (["kill -TERM $$"], 128 + signal.SIGTERM),
        (["--timeout", "0.3", "sleep 600"], 124),
        (["no-such-command-at-all"], 127),
        (["--", "no-such-command-at-all", "-x"], 127),
        (["--max-retries", "2", "--backoff-base", "1", "test -e mark || { touch mark; exit 5; }"], 0),
    ],
)
def test_it_exits_as_the_job_does(home: Home, words: list[str], code: int) -> None:
    assert home.cli("run", *words).returncode == code


def test_output_keeps_its_order_and_bytes(home: Home) -> None:
    done = home.cli("run", "echo a; echo b > /dev/stderr; echo c; printf '\\377\\033]0;x\\007'")
    assert done.stdout == "a\nb\nc\n\udcff\x1b]0;x\x07"


def test_it_runs_once_unless_told_otherwise(home: Home) -> None:
    assert home.cli("run", "false").returncode == 1
    assert home.json("show", "last")["max_retries"] == 0
    assert home.cli("run", '{"command": "true", "maxRetries": 4}').returncode == 0
    assert home.json("show", "last")["max_retries"] == 4


def test_ctrl_c_detaches_and_says_so(home: Home) -> None:
    mark = home.path / "mark"
    run = Terminal(home, ["run", f"echo begun; sleep 1; echo s > {mark}"])
    run.wait_for(b"begun")
    run.press(b"\x03")
    assert run.end() == 130
    assert b"Detached: job_1 keeps running" in run.shown
    assert home.cli("wait", "job_1", "--exit-status").returncode == 0
    assert mark.read_text() == "s\n"


def test_a_cancelled_job_exits_130(home: Home) -> None:
    run = home.popen("run", "sleep 600")
    eventually(lambda: home.states() == {"job_1": "processing"}, message="it does not run")
    home.ok("cancel", "job_1")
    assert run.wait(timeout=20) == 130


@pytest.mark.parametrize(
    "words, said",
    [
        (["--hold"], "it is held"),
        (["--delay", "1h"], "no earlier than"),
        (["--run-at", "2999-01-01"], "no earlier than"),
        (["--queue", "q"], "queue q is paused"),
    ],
)
def test_no_worker_is_started_for_a_job_that_may_not_run_and_it_says_why(
    home: Home, words: list[str], said: str
) -> None:
    home.ok("queue", "pause", "q")
    run = home.popen("run", *words, "true")
    assert run.stderr is not None
    assert said in run.stderr.readline()
    assert "No workers are active" in run.stderr.readline()
    assert home.json("worker", "list") == []
    home.ok("cancel", "job_1")
    assert run.wait(timeout=20) == 130


def test_it_gets_a_worker_of_its_own_beside_those_that_may_not_take_its_job(home: Home) -> None:
    """One is kept for another job, one ends with what it runs."""
    first = home.popen("run", "read line < /dev/zero")
    eventually(lambda: home.states() == {"job_1": "processing"}, message="it does not run")
    assert home.cli("run", "echo beside", timeout=60).stdout == "beside\n"
    home.ok("cancel", "job_1")
    assert first.wait(timeout=20) == 130
    eventually(lambda: home.json("worker", "list") == [], 20, "its worker stays")

    home.ok("worker", "start", "-d")
    home.ok("enqueue", "sleep 600")
    eventually(lambda: home.states()["job_3"] == "processing", message="it does not run")
    home.ok("worker", "stop", "--no-wait")
    assert home.cli("run", "echo after", timeout=60).stdout == "after\n"
    home.ok("cancel", "job_3")


def test_a_job_that_has_a_worker_of_its_own_gets_no_other(home: Home) -> None:
    run = home.popen("run", "--max-retries", "2", "--backoff-base", "600", "false")
    eventually(lambda: home.states() == {"job_1": "failed"}, message="it does not run")
    with Client(autostart=False, environ=home.env) as client:
        assert client.call("worker.start", job="job_1")["workers"] == []
        assert len(client.workers()) == 1
    home.ok("cancel", "job_1")
    assert run.wait(timeout=20) == 130
