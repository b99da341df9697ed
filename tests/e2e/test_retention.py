"""Old jobs go: at a word, and by themselves where a setting says how long they are kept."""

from pathlib import Path

import pytest

from tests.support.daemon import Home
from tests.support.eventually import eventually
from tests.support.terminal import Terminal

BIG = "head -c 100000 /dev/zero"


@pytest.fixture
def used(home: Home) -> Home:
    """A completed job with a log file, a cancelled one, a dead one with a log file, and one that waits."""
    home.ok("worker", "start", "-d")
    home.ok("enqueue", "--id", "good", BIG)
    home.ok("enqueue", "--id", "bad", "--max-retries", "1", f"{BIG}; exit 3")
    home.ok("enqueue", "--id", "stopped", "--hold", "true")
    home.ok("enqueue", "--id", "waits", "--hold", "true")
    home.ok("cancel", "stopped")
    home.cli("wait", "good", "bad")
    return home


def log_files(home: Home) -> list[str]:
    return sorted(path.name.split(".")[0] for path in home.logs.glob("0*/*.log"))


def test_pruning_takes_what_was_completed_or_cancelled_with_its_output(used: Home) -> None:
    assert log_files(used) == ["1", "2"]
    assert used.ok("prune", "--older-than", "1h") == "0 jobs removed\n"
    assert used.ok("prune", "--dry-run") == "2 jobs would be removed\n"
    for key, said in ((b"n\r", b"Nothing was removed"), (b"y\r", b"2 jobs removed")):
        terminal = Terminal(used, ["prune"])
        terminal.wait_for(b"Remove 2 jobs? [y/N]")
        terminal.press(key)
        terminal.wait_for(said)
        terminal.end()
    assert used.states() == {"bad": "dead", "waits": "held"}
    assert log_files(used) == ["2"]
    assert used.json("prune", "--state", "dead") == {"removed": 1}
    assert log_files(used) == []
    assert used.states() == {"waits": "held"}
    kinds = [event["kind"] for event in used.json("events", "--since", "0")]
    assert kinds.count("jobs.removed") == 2


def test_who_prunes_other_jobs_than_ended_ones_is_told(used: Home) -> None:
    for words in (["--state", "pending"], ["--older-than", "-1"], ["--older-than", "soon"]):
        assert used.cli("prune", *words).returncode == 2
    assert len(used.states()) == 4


def test_jobs_go_by_themselves_when_they_were_kept_long_enough(used: Home) -> None:
    used.ok("config", "set", "keep_completed", "7d")
    assert used.json("config", "get", "keepCompleted")["value"] == 604_800
    assert used.cli("config", "set", "keep-dead", "long").returncode == 2
    used.ok("config", "set", "keep_completed", "0.2s")
    eventually(lambda: "good" not in used.states(), message="completed before the setting was set")
    used.ok("enqueue", "--id", "later", BIG)
    eventually(lambda: used.states().keys() == {"bad", "stopped", "waits"}, message="completed after it")
    assert log_files(used) == ["2"]
    used.ok("config", "set", "keep_dead", "1s")
    eventually(lambda: used.states().keys() == {"stopped", "waits"})
    used.ok("config", "unset", "keep_completed")
    used.ok("enqueue", "--id", "kept", "true")
    used.ok("wait", "kept")
    used.ok("config", "set", "keep_cancelled", "0.1s")
    eventually(lambda: used.states().keys() == {"kept", "waits"})


def test_what_was_kept_long_enough_while_no_daemon_ran_goes_with_the_next_one(used: Home) -> None:
    used.ok("config", "set", "keep_dead", "1h")
    used.ok("daemon", "stop")
    used.ok("config", "set", "keep_completed", "0.1s")
    used.ok("daemon", "restart")
    eventually(lambda: "good" not in used.states())
    assert "bad" in used.states()


def test_logs_that_a_killed_daemon_left_behind_go_and_no_others(used: Home) -> None:
    used.ok("rm", "good")
    used.ok("daemon", "stop")
    folder = used.logs / "000000"
    stray, foreign, other = folder / "1.1.both.log", folder / "777.1.both.log", folder / "notes.txt"
    for path in (stray, foreign, other):
        path.write_text("left")
    used.ok("daemon", "start")
    eventually(lambda: not stray.exists())
    assert names(folder) == {"2.1.both.log", foreign.name, other.name}, "777 is of a store that is not here now"


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_retention_time_without_a_unit_removes_nothing(used: Home) -> None:
    refused = used.cli("config", "set", "keep_completed", "7")
    assert refused.returncode == 2
    assert "did you mean 7d (days) or 7s (seconds)?" in refused.stderr
    assert used.json("config", "get", "keep_completed")["value"] is None
    kept = used.cli("config", "set", "keep_completed", "7d")
    assert kept.stdout == "keep_completed is now 7d (604800 s)\n"
    assert kept.stderr == "0 completed jobs that ended more than 7d ago are removed now.\n"
    assert "good" in used.states()


def test_on_a_terminal_it_asks_before_a_retention_time_removes_jobs(used: Home) -> None:
    terminal = Terminal(used, ["config", "set", "keepCompleted", "1ms"], columns=200)
    terminal.wait_for(b"Remove 1 completed job that ended more than 1ms ago, and from now on all that are older?")
    terminal.press(b"n\r")
    terminal.wait_for(b"Nothing was changed.")
    assert terminal.end() == 1
    assert used.json("config", "get", "keep_completed")["value"] is None
    used.ok("config", "set", "keepCompleted", "1ms", "--yes")
    eventually(lambda: "good" not in used.states())
