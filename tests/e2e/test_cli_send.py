"""`queuectl send`: what a person notices who gives a running job something to read."""

import pytest

from tests.support.daemon import Home
from tests.support.eventually import eventually


def running(home: Home, *words: str) -> str:
    """The id of a job that has begun to run."""
    job = home.ok("enqueue", "-q", "--stdin-open", *words).strip()
    eventually(lambda: home.states()[job] == "processing", message=f"{job} runs")
    return job


@pytest.fixture
def started(home: Home) -> Home:
    home.ok("worker", "start", "-d")
    return home


def test_a_job_reads_lines_and_bytes_and_the_end(started: Home) -> None:
    job = running(started, 'read answer; echo "got $answer"; cat')
    done = started.cli("send", job, "yes please")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", f"{job}: 11 bytes sent\n")
    started.ok("send", job, "-n", "no newline,")
    started.ok("send", "last", "-", "--eof", input="a\nb\udcff\n")
    started.ok("wait", job)
    assert started.ok("logs", job) == "got yes please\nno newline,a\nb\udcff\n"


def test_json_is_the_job(started: Home) -> None:
    job = running(started, "cat")
    assert started.json("send", job, "--eof")["id"] == job
    started.ok("wait", job)


def test_a_restart_of_the_daemon_is_not_noticed(started: Home) -> None:
    job = running(started, "read a; read b; echo $a-$b")
    started.ok("send", job, "1")
    started.ok("daemon", "restart")
    started.ok("send", job, "2")
    started.ok("wait", job)
    assert started.ok("logs", job) == "1-2\n"


def test_many_megabytes_pass_through(started: Home) -> None:
    job = running(started, "wc -c")
    started.ok("send", job, "-", "--eof", input="x" * 5_000_000)
    started.ok("wait", job)
    assert started.ok("logs", job).strip() == "5000000"


def test_who_does_not_run_or_has_no_open_stdin_is_told_so(started: Home) -> None:
    job = running(started, "read line")
    started.ok("enqueue", "--stdin-open", "--hold", "--id", "held", "cat")
    done = started.cli("send", "held", "x")
    assert (done.returncode, done.stdout) == (5, "")
    assert "held is held; only a running job can be sent input" in done.stderr
    started.ok("send", job, "go")
    started.ok("wait", job)
    assert started.cli("send", job, "x").returncode == 5
    started.ok("enqueue", "--id", "plain", "true")
    done = started.cli("send", "plain", "x")
    assert (done.returncode, "--stdin-open" in done.stderr) == (5, True)
    assert started.cli("send", "nobody", "x").returncode == 4
    done = started.cli("send", job)
    assert (done.returncode, "give TEXT, - for stdin, or --eof" in done.stderr) == (2, True)
