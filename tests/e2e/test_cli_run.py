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


@pytest.mark.parametrize(
    "words, said",
    [
        (["run", "--hold"], b"Detached: job_1 is held; release it with: queuectl release job_1. Reattach"),
        (["enqueue", "--wait"], b"Detached: job_1 waits. Reattach with: queuectl wait job_1"),
        (["enqueue", "--follow"], b"Detached: job_1 waits. Reattach with: queuectl follow job_1"),
    ],
)
def test_ctrl_c_says_what_becomes_of_the_job(home: Home, words: list[str], said: bytes) -> None:
    shown = Terminal(home, [*words, "true"], columns=200)
    shown.wait_for(b"o workers are active")
    shown.press(b"\x03")
    shown.wait_for(said)
    assert shown.end() == 130


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
    home.ok("queue", "set", "q", "--rate", "none")
    home.ok("queue", "pause", "q")
    run = home.popen("run", *words, "true")
    assert run.stderr is not None
    assert said in run.stderr.readline()
    assert "No workers are active; one is started for this job when it may run" in run.stderr.readline()
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


@pytest.mark.parametrize(
    "words, let",
    [
        (["--delay", "1s"], []),
        (["--hold"], ["release", "job_2"]),
        (["--queue", "q"], ["queue", "resume", "q"]),
        (["--after", "job_1"], ["cancel", "job_1"]),
        (["--key", "k"], ["cancel", "job_1"]),
    ],
)
def test_a_job_that_may_not_run_yet_has_a_worker_when_it_may(home: Home, words: list[str], let: list[str]) -> None:
    home.ok("queue", "set", "q", "--rate", "none")
    home.ok("queue", "pause", "q")
    home.ok("enqueue", "--key", "k", "false")
    run = home.popen("run", *[f"{word}:any" if word == "job_1" else word for word in words], "echo here")
    assert run.stderr is not None
    assert "job_2 waits: " in run.stderr.readline()
    assert home.json("worker", "list") == []
    if let:
        home.ok(*let)
    out, err = run.communicate(timeout=30)
    assert (run.returncode, out) == (0, "here\n")
    assert "slots" not in err
    eventually(lambda: home.json("worker", "list") == [], 20, "its worker stays")


def test_a_job_that_waits_for_its_key_says_so(home: Home) -> None:
    home.ok("enqueue", "--key", "k", "false")
    run = home.popen("run", "--key", "k", "true")
    assert run.stderr is not None
    assert run.stderr.readline() == "job_2 waits: it runs after other jobs of its key 'k'.\n"
    assert "For the jobs that it waits for, start some with: queuectl worker start" in run.stderr.readline()
    home.ok("rm", "all")
    assert run.wait(timeout=20) != 0


def test_a_job_that_waits_has_a_worker_though_its_client_has_gone_and_the_daemon_was_replaced(home: Home) -> None:
    home.start_daemon()
    run = home.popen("run", "--hold", "true")
    assert run.stderr is not None
    assert "it is held" in run.stderr.readline()
    run.send_signal(signal.SIGINT)
    assert run.wait(timeout=20) == 130
    home.ok("daemon", "restart")
    assert home.json("worker", "list") == []
    home.ok("release", "job_1")
    home.ok("wait", "job_1", "--exit-status", "--timeout", "20")


def test_a_job_that_waits_leaves_its_worker_away_where_another_takes_it(home: Home) -> None:
    home.start_daemon()
    run = home.popen("run", "--hold", "echo here")
    assert run.stderr is not None
    assert "it is held" in run.stderr.readline()
    home.ok("worker", "start", "-d")
    home.ok("release", "job_1")
    assert run.wait(timeout=20) == 0
    assert [worker["jobs_done"] for worker in home.json("worker", "list")] == [1]
