"""The dead letter queue on the command line: filters, a change before the retry, a rate, and throwing away."""

from datetime import datetime

import pytest

from tests.support.daemon import Home
from tests.support.terminal import Terminal


@pytest.fixture
def dead(home: Home) -> Home:
    """Four dead jobs, and one that has succeeded."""
    home.ok("worker", "start", "-d")
    options = ("--max-retries", "0", "-q")
    home.ok("enqueue", "exit 1", "--label", "user=ada", "--name", "a1", *options)
    home.ok("enqueue", "exit 12", "--label", "user=bob", "--name", "a2", *options)
    home.ok("enqueue", "kill -9 $$", "--queue", "q", *options)
    home.ok("enqueue", "sleep 600", "--timeout", "0.1", *options)
    home.ok("enqueue", "true", *options)
    home.ok("wait")
    home.ok("worker", "stop")
    assert list(home.states().values()) == ["dead"] * 4 + ["completed"]
    return home


def ids(home: Home, *words: str) -> list[str]:
    return home.ok("dlq", *words, "-q").split()


def test_list_tells_reasons_and_filters(dead: Home) -> None:
    table = dead.ok("dlq", "list").splitlines()
    assert [line.split()[0] for line in table] == ["ID", "job_1", "job_2", "job_3", "job_4"]
    assert "signal 9 (SIGKILL)" in table[3]
    for words, found in (
        (["--reason", "exit 1"], ["job_1"]),
        (["--reason", "exit"], ["job_1", "job_2"]),
        (["--reason", "timeout"], ["job_4"]),
        (["--reason", "signal"], ["job_3"]),
        (["--reason", "signal 9"], ["job_3"]),
        (["--reason", "signal 9 (SIG"], []),
        (["--reason", "signal 9 (SIGKILL)"], ["job_3"]),
        (["--reason", "timeout: it ran"], ["job_4"]),
        (["--reason", "sig*"], []),
        (["--reason", "sig"], []),
        (["--filter", "reason_code=timeout"], ["job_4"]),
        (["--filter", "reason_code in (exit, signal)"], ["job_1", "job_2", "job_3"]),
        (["--queue", "q"], ["job_3"]),
        (["--label", "user=bob"], ["job_2"]),
        (["--name", "a*"], ["job_1", "job_2"]),
        (["--name", "a*", "--reason", "exit 12"], ["job_2"]),
        (["--since", "1h"], ["job_1", "job_2", "job_3", "job_4"]),
        (["--since", "2999-01-01"], []),
        (["--filter", "exit_code>5"], ["job_2"]),
    ):
        assert ids(dead, "list", *words) == found, words
    codes = {job["id"]: job["reason_code"] for job in dead.json("list", "--sort", "reason_code")}
    assert list(codes.values()) == ["exit", "exit", "signal", "timeout", None]
    assert [each["reason_code"] for each in dead.json("show", "job_4")["attempts_list"]] == ["timeout"]
    told = [event["reason_code"] for event in dead.json("events") if event["kind"] == "job.dead"]
    assert told == [codes[job] for job in sorted(codes)][:4]
    assert dead.json("dlq", "list", "--queue", "nobody's") == []
    assert dead.cli("dlq", "list", "--label", "user").returncode == 2


def test_retry_takes_ids_selectors_filters_or_all(dead: Home) -> None:
    assert ids(dead, "retry", "--reason", "exit", "--dry-run") == ["job_1", "job_2"]
    done = dead.cli("dlq", "retry", "all", "--dry-run")
    assert "4 jobs would be retried" in done.stderr
    assert "1 job left out: completed (it is not in the dead letter queue)" in done.stderr
    assert "exit 12" in done.stdout
    assert ids(dead, "retry", "--label", "user=ada") == ["job_1"]
    assert ids(dead, "retry", "job_2") == ["job_2"]
    assert ids(dead, "retry", "@dead") == ["job_3", "job_4"]
    assert dead.cli("dlq", "retry", "--all").stderr == "No job matches.\n"
    assert dead.cli("dlq", "retry", "job_5").returncode == 5
    for bad in (["retry"], ["retry", "job_1", "--all"], ["retry", "job_1", "--queue", "q"], ["purge"]):
        assert dead.cli("dlq", *bad).returncode == 2, bad


def test_a_retry_may_change_the_jobs_first(dead: Home) -> None:
    for bad, code in (("colour=red", 2), ("priority=high", 2), ("labels.x=1", 2)):
        assert dead.cli("dlq", "retry", "job_1", bad).returncode == code, bad
    assert dead.states()["job_1"] == "dead"
    assert ids(dead, "retry", "job_1", "label:user=bob", "command=true", "timeout=10m") == ["job_1", "job_2"]
    for job in ("job_1", "job_2"):
        shown = dead.json("show", job)
        assert (shown["command"], shown["timeout"], shown["state"]) == ("true", 600, "pending")


def test_a_retry_at_a_rate_is_spread_by_the_daemon(dead: Home) -> None:
    assert len(ids(dead, "retry", "--all", "--rate", "30/m")) == 4
    jobs = [dead.json("show", f"job_{number}") for number in range(1, 5)]
    assert jobs[0]["run_at"] is None
    times = [datetime.fromisoformat(job["run_at"]) for job in jobs[1:]]
    assert [(later - times[0]).total_seconds() for later in times] == [0, 2, 4]
    bad = dead.cli("dlq", "retry", "--all", "--rate", "fast")
    assert bad.returncode == 2
    assert "10/m" in bad.stderr


def test_purge_takes_age_and_filters_and_asks(dead: Home) -> None:
    assert ids(dead, "purge", "--all", "--older-than", "1h") == []
    assert ids(dead, "purge", "job_1", "--older-than", "1h") == []
    assert ids(dead, "purge", "--name", "a*", "--older-than", "0s", "--dry-run") == ["job_1", "job_2"]
    terminal = Terminal(dead, ["dlq", "purge", "--all"])
    terminal.wait_for(b"Purge 4 jobs? [y/N] ")
    terminal.press(b"\n")
    assert terminal.end() == 1
    assert dead.ok("dlq", "purge", "--reason", "exit 1") == "Job job_1 removed\n"
    assert ids(dead, "purge", "--all", "-y") == ["job_2", "job_3", "job_4"]
    assert dead.states() == {"job_5": "completed"}


def test_the_list_has_the_columns_order_and_limit_of_every_list(dead: Home) -> None:
    assert ids(dead, "list", "--sort", "-id", "--limit", "2") == ["job_4", "job_3"]
    assert ids(dead, "list", "--reverse") == ["job_4", "job_3", "job_2", "job_1"]
    assert dead.ok("dlq", "list", "--columns", "id,name", "-l", "user=ada").split() == ["ID", "NAME", "job_1", "a1"]
    assert dead.ok("dlq", "list", "-Q", "q", "--jsonl", "--columns", "id") == '{"id": "job_3"}\n'
    assert "^" in dead.cli("dlq", "list", "--filter", "x=").stderr
    assert dead.ok("list", "--reason", "exit", "-q").split() == ["job_1", "job_2"]


def test_purge_and_prune_take_the_same_filters(dead: Home) -> None:
    dead.ok("enqueue", "-q", "--id", "kept", "--hold", "--label", "user=ada", "true")
    assert dead.ok("prune", "--state", "DEAD,completed", "--reason", "exit", "--dry-run") == "2 jobs would be removed\n"
    assert dead.json("prune", "--state", "dead", "-l", "user=ada", "--older-than", "1h") == {"removed": 0}
    assert dead.json("prune", "--state", "dead", "-l", "user=ada") == {"removed": 1}
    assert dead.json("prune", "-Q", "q") == {"removed": 0}, "dead ones go only when told so"
    assert dead.ok("dlq", "purge", "--name", "a*", "--since", "1d", "-y") == "Job job_2 removed\n"
    assert dead.json("prune", "--filter", "command=true") == {"removed": 1}
    assert list(dead.states()) == ["job_3", "job_4", "kept"]
    refused = dead.cli("prune", "--filter", "x=")
    assert (refused.returncode, "^" in refused.stderr) == (2, True)
