"""Queues on the command line: limits, why one is closed, and a pause that waits."""

import os

from tests.support.daemon import Home
from tests.support.eventually import eventually


def test_limits_are_set_shown_and_taken_away(home: Home) -> None:
    done = home.cli("queue", "set", "q", "--concurrency", "2", "--rate", "10/m", "--failure-limit", "3")
    assert done.stdout == (
        "Queue q runs at most 2 jobs at once, starts at most 10/m, pauses after 3 failures in a row\n"
    )
    row = home.json("queue", "list")[1]
    assert (row["name"], row["concurrency"], row["rate"], row["failure_limit"]) == ("q", 2, "10/m", 3)
    assert " ".join(home.ok("queue", "list").splitlines()[2].split()) == "q open 0 0 of 2 0 0 0 10/m 0 of 3"
    home.ok("queue", "set", "q", "--rate", "none", "--concurrency", "none")
    row = home.json("queue", "list")[1]
    assert (row["concurrency"], row["rate"], row["failure_limit"]) == (None, None, 3)
    assert "no limits" in home.cli("queue", "set", "q", "--failure-limit", "none").stdout
    for bad in (["--concurrency", "-1"], ["--concurrency", "x"], ["--rate", "often"], []):
        done = home.cli("queue", "set", "q", *bad)
        assert (done.returncode, done.stdout) == (2, ""), bad


def test_a_queue_that_paused_itself_says_why(home: Home) -> None:
    home.ok("queue", "set", "q", "--failure-limit", "2")
    home.ok("worker", "start", "-d")
    for _ in range(3):
        home.ok("enqueue", "--queue", "q", "--max-retries", "0", "exit 7")
    eventually(lambda: home.json("queue", "list")[1]["paused"], message="it was not paused")
    done = home.cli("queue", "list")
    assert "paused" in done.stdout
    assert "q: paused by its failure limit: 2 executions in a row failed" in done.stderr
    assert "queuectl queue resume q" in done.stderr
    home.ok("queue", "resume", "q")
    assert "failure limit" not in home.cli("queue", "list").stderr
    home.ok("queue", "pause", "q")
    assert "q: paused by hand." in home.cli("queue", "list").stderr


def test_a_pause_that_waits_returns_when_nothing_of_the_queue_runs(home: Home) -> None:
    os.mkfifo(home.path / "gate")
    home.ok("worker", "start", "-d")
    home.ok("enqueue", "--queue", "q", "read line < gate")
    home.ok("enqueue", "--queue", "other", "sleep 600")
    home.ok("worker", "scale", "2")
    eventually(lambda: list(home.states().values()) == ["processing"] * 2, message="they do not run")
    waiting = home.popen("queue", "pause", "q", "--wait")
    assert waiting.stderr is not None
    assert waiting.stderr.readline() == "Queue q is paused; 1 job of it still to end.\n"
    home.ok("enqueue", "--queue", "q", "true")
    assert waiting.poll() is None
    (home.path / "gate").write_text("\n")
    assert waiting.wait(timeout=30) == 0
    assert waiting.stdout is not None
    assert waiting.stdout.read() == "Queue q is paused, and nothing of it runs\n"
    assert home.states() == {"job_1": "completed", "job_2": "processing", "job_3": "pending"}
    again = home.cli("queue", "pause", "q", "--wait", "--json")
    assert (again.returncode, again.stdout[:2]) == (0, "[{")
    home.ok("cancel", "job_2")


def test_a_pause_that_waits_ends_when_somebody_resumes_the_queue(home: Home) -> None:
    home.ok("worker", "start", "-d")
    home.ok("enqueue", "--queue", "q", "sleep 600")
    eventually(lambda: home.states() == {"job_1": "processing"}, message="it does not run")
    waiting = home.popen("queue", "pause", "q", "--wait")
    assert waiting.stderr is not None
    waiting.stderr.readline()
    home.ok("queue", "resume", "q")
    eventually(lambda: home.ok("queue", "resume", "q") and waiting.poll() is not None, message="it still waits")
    assert waiting.stdout is not None
    assert "resumed by somebody else" in waiting.stdout.read()
    home.ok("cancel", "job_1")


def test_explain_names_the_limits_in_words(home: Home) -> None:
    home.ok("worker", "start", "-d")
    home.ok("queue", "set", "q", "--rate", "1/h")
    home.ok("enqueue", "--queue", "q", "true")
    home.ok("wait", "job_1")
    home.ok("enqueue", "--queue", "q", "true")
    told = home.ok("explain", "last").splitlines()
    assert told[0] == "job_2: Pending"
    assert told[1].startswith("  The queue q starts at most 1 job an hour. Until 20")
    assert told[2] == "  Place in line: 1"
    assert told[3].startswith("  May start: 20")
    home.ok("enqueue", "sleep 600")
    home.ok("enqueue", "true")
    eventually(lambda: home.states()["job_3"] == "processing", message="it does not run")
    told = home.ok("explain", "last").splitlines()
    assert told == [
        "job_4: Pending",
        "  Its worker is busy.",
        "  Place in line: 1",
        "  May start: as soon as a worker is free",
    ]
    home.ok("cancel", "job_3")


def test_no_queue_is_made_by_a_typo(home: Home) -> None:
    home.ok("queue", "set", "mail", "--rate", "10/m")
    for words, said in (
        (["pause", "defualt"], "no such queue: 'defualt'; did you mean default?"),
        (["pause", "default", "xyz", "--wait"], "no such queue: 'xyz'"),
        (["resume", "nail"], "did you mean mail?"),
        (["rm", "nail"], "did you mean mail?"),
        (["pause", "all"], "for all queues use --all"),
        (["resume", "all"], "for all queues use --all"),
    ):
        refused = home.cli("queue", *words)
        assert (refused.returncode, refused.stdout) == (4, ""), words
        assert said in refused.stderr
    assert home.ok("queue", "list", "-q").split() == ["default", "mail"]
    assert home.json("status")["paused"] == []
    for words in (["pause"], ["pause", "--all", "mail"], ["resume"], ["rm"]):
        assert home.cli("queue", *words).returncode == 2


def test_several_queues_or_all_of_them_are_paused_and_resumed(home: Home) -> None:
    for name in ("mail", "night"):
        home.ok("queue", "set", name, "--rate", "10/m")
    assert home.ok("queue", "pause", "mail", "night").count("is paused") == 2
    assert home.json("status")["paused"] == ["mail", "night"]
    assert home.ok("queue", "resume", "mail", "-q") == "mail\n"
    assert [row["paused"] for row in home.json("queue", "pause", "--all", "--wait")] == [True] * 3
    assert home.ok("queue", "resume", "--all").count("is open") == 3
    assert home.json("status")["paused"] == []


def test_an_empty_queue_is_removed_and_one_with_jobs_is_not(home: Home) -> None:
    home.ok("enqueue", "-q", "--queue", "q", "--id", "a", "true")
    home.ok("queue", "set", "q", "--rate", "1/h", "--concurrency", "1")
    home.ok("queue", "pause", "q")
    refused = home.cli("queue", "rm", "q")
    assert (refused.returncode, refused.stdout) == (5, "")
    assert "the queue q has 1 job, ended ones included" in refused.stderr
    assert home.cli("queue", "rm", "default").returncode == 5
    home.ok("rm", "a")
    assert home.ok("queue", "rm", "q") == "Queue q removed\n"
    assert home.json("status")["paused"] == []
    assert home.ok("queue", "list", "-q") == "default\n"
    # Its number and those of its lanes may be given to the next one, which is open and without limits.
    home.ok("worker", "start", "-d")
    home.ok("enqueue", "-q", "--queue", "r", "true")
    home.ok("enqueue", "-q", "--queue", "q", "true")
    home.ok("wait", "all")
    row = home.json("queue", "list")[1]
    assert (row["name"], row["paused"], row["rate"], row["concurrency"]) == ("q", False, None, None)
