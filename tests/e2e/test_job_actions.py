"""Commands that change existing jobs: selectors, confirmation, dry runs, edit, move."""

import json
import os
import signal

from tests.support.daemon import Home
from tests.support.eventually import eventually
from tests.support.terminal import Terminal, on_terminal


def held(home: Home, count: int, *words: str) -> None:
    """So many jobs that wait."""
    home.ok("enqueue", "-f", "-", "-q", "--hold", *words, input="true\n" * count)


def test_a_selector_takes_what_it_can_and_says_what_it_left_out(home: Home) -> None:
    held(home, 3)
    home.ok("cancel", "job_1")
    done = home.cli("cancel", "all")
    assert (done.returncode, done.stdout) == (0, "Job job_2 cancelled\nJob job_3 cancelled\n")
    assert done.stderr == ("2 jobs cancelled.\n1 job left out: cancelled (it has ended and cannot be cancelled)\n")
    none = home.cli("cancel", "@cancelled")
    assert (none.returncode, none.stdout) == (0, "")
    assert none.stderr.startswith("No job was cancelled.\n3 jobs left out: cancelled")
    assert home.ok("rm", "1-2", "-q") == "job_1\njob_2\n"
    assert [job["id"] for job in home.json("rm", "all")] == ["job_3"]


def test_a_named_id_has_to_allow_it(home: Home) -> None:
    held(home, 2)
    home.ok("cancel", "1")
    done = home.cli("cancel", "job_2", "job_1")
    assert (done.returncode, done.stdout) == (5, "")
    assert home.states() == {"job_1": "cancelled", "job_2": "held"}
    for nothing in ("nope", "@dead", "40-50", "name:x*", "label:a=b", "99"):
        done = home.cli("cancel", nothing)
        assert (done.returncode, done.stdout) == (4, ""), nothing
        assert nothing in done.stderr
    assert home.cli("cancel", "label:a").returncode == 2
    assert "did you mean @held" in home.cli("cancel", "@hled").stderr


def test_a_dry_run_shows_the_jobs_and_changes_nothing(home: Home) -> None:
    held(home, 2, "--name", "nightly")
    home.ok("enqueue", "true")
    for verb in ("cancel", "release", "rm", "hold"):
        done = home.cli(verb, "name:n*", "all", "--dry-run")
        lines = done.stdout.splitlines()
        assert [line.split()[0] for line in lines][:3] == ["ID", "job_1", "job_2"], verb
        assert "Dry run: " in done.stderr
        assert home.json(verb, "@held", "--dry-run")[0]["id"] == "job_1"
    assert home.json("move", "job_1", "--first", "--dry-run")[0]["state"] == "held"
    assert home.states() == {"job_1": "held", "job_2": "held", "job_3": "pending"}


def test_before_many_are_destroyed_a_person_is_asked(home: Home) -> None:
    held(home, 3)
    terminal = Terminal(home, ["cancel", "all"])
    terminal.wait_for(b"Cancel 3 jobs? [y/N] ")
    terminal.press(b"n\n")
    assert terminal.end() == 1
    assert b"Nothing was cancelled." in terminal.shown
    terminal = Terminal(home, ["kill", "1-2", "-s", "INT"])
    assert terminal.end() == 0, "none of them runs, so nothing is to be asked"
    assert b"?" not in terminal.shown
    terminal = Terminal(home, ["rm", "job_1", "2-3"])
    terminal.wait_for(b"Remove 3 jobs? [y/N] ")
    # A Ctrl-C that comes in the moment before the read is seen after it or not at all; the Enter behind it ends both.
    terminal.press(b"\x03\n")
    assert terminal.end() in (130, 1)
    assert set(home.states().values()) == {"held"}
    assert b"?" not in on_terminal(home, "cancel", "job_1"), "one that was named is not asked for"
    assert b"?" not in on_terminal(home, "cancel", "2-2"), "nor a selector that stands for one"
    assert b"?" not in on_terminal(home, "rm", "all", "-y")
    held(home, 2)
    terminal = Terminal(home, ["cancel", "all"])
    terminal.wait_for(b"[y/N] ")
    terminal.press(b"y\n")
    assert terminal.end() == 0
    assert set(home.states().values()) == {"cancelled"}


def test_move_puts_a_job_where_it_is_wanted(home: Home) -> None:
    for number in range(4):
        home.ok("enqueue", f"echo {number + 1}")
    assert home.ok("move", "job_4", "--first") == "Job job_4 moved to the front\n"
    assert home.ok("move", "1", "--last") == "Job job_1 moved to the end\n"
    assert home.ok("move", "job_3", "--before", "job_2") == "Job job_3 moved before job_2\n"
    assert home.ok("move", "last", "--queue", "q") == "Job job_4 moved to queue q\n"
    assert home.json("show", "job_4")["queue"] == "q"
    for bad in (["move", "job_1"], ["move", "job_1", "--first", "--last"], ["move", "1-3", "--first"]):
        assert home.cli(*bad).returncode == 2, bad
    assert home.cli("move", "nope", "--first").returncode == 4
    home.ok("cancel", "job_4")
    assert home.cli("move", "job_4", "--first").returncode == 5
    home.ok("worker", "start", "-d")
    home.ok("wait")
    order = [event["job"] for event in home.json("events") if event["kind"] == "job.processing"]
    assert order == ["job_3", "job_2", "job_1"]


def test_explain_says_what_holds_a_job_back(home: Home) -> None:
    home.ok("enqueue", "true")
    home.ok("enqueue", "--hold", "--after", "job_1", "true")
    home.ok("enqueue", "--delay", "1h", "true")
    assert "There are no workers." in home.ok("explain", "job_1")
    assert "Place in line: 1" in home.ok("explain", "job_1")
    blocked = home.ok("explain", "2")
    assert "held until somebody releases it" in blocked
    assert "waits for job job_1" in blocked
    delayed = home.ok("explain", "last")
    assert "It is delayed. Until 20" in delayed
    told = home.json("explain", "job_3")
    assert {rule["rule"] for rule in told["rules"]} == {"delay", "workers"}
    home.ok("cancel", "job_1")
    assert "It has ended: cancelled." in home.ok("explain", "job_1")
    assert home.cli("explain", "nope").returncode == 4


def test_edit_keeps_what_is_not_named_and_shows_no_value_of_the_environment(home: Home) -> None:
    home.ok("enqueue", "echo $A $B", "--env", "A=1", "--env", "B=s3cret", "--label", "x=1")
    home.ok("edit", "last", "priority=5", "once=true", "retry_on=75,KILL", "backoff_max=2m", "needs=none")
    home.ok("edit", "last", "env.A=2", "labels.y=2")
    home.ok("edit", "last", "env.C=3", "env.C=none")
    job = home.json("show", "last")
    assert (job["priority"], job["once"], job["retry_on"], job["backoff_max"]) == (5, True, [75, "SIGKILL"], 120)
    assert (job["env_names"], job["labels"]) == (["A", "B"], {"x": "1", "y": "2"})
    assert home.cli("edit", "last", "env.A=1", "colour=red").returncode == 2
    home.ok("worker", "start", "-d")
    home.ok("wait", "last")
    assert home.ok("logs", "last") == "2 s3cret\n"


def test_edit_of_a_slip_of_the_pen_goes_on_with_what_was_typed(home: Home) -> None:
    home.ok("enqueue", "--env", "TOKEN=s3cret", "echo before")
    editor = home.path / "editor"
    editor.write_text(
        "#!/bin/sh\n"
        f'cat "$1" >> {home.path}/seen\n'
        'if grep -q "echo after" "$1"; then sed -i \'s/^priority.*/priority = 7/\' "$1"\n'
        "else sed -i 's/before/after/; s/^priority.*/priority = = 7/' \"$1\"; fi\n"
    )
    editor.chmod(0o700)
    terminal = Terminal(home, ["edit", "job_1"], env={"EDITOR": str(editor), "VISUAL": str(editor)})
    terminal.wait_for(b"Edit it again? [Y/n] ")
    terminal.press(b"\n")
    assert terminal.end() == 0
    assert b"invalid TOML" in terminal.shown
    job = home.json("show", "job_1")
    assert (job["command"], job["priority"], job["env_names"]) == ("echo after", 7, ["TOKEN"])
    assert "s3cret" not in (home.path / "seen").read_text()
    without = home.cli("edit", "job_1", env={"EDITOR": "", "VISUAL": ""})
    assert without.returncode == 2
    assert "give KEY=VALUE" in without.stderr


def test_edit_wants_one_job(home: Home) -> None:
    held(home, 2)
    done = home.cli("edit", "1-2", "priority=1")
    assert done.returncode == 2
    assert "exactly one" in done.stderr


def test_a_retry_in_place_keeps_the_old_output_and_attempts(home: Home) -> None:
    home.cli("run", "echo try $QUEUECTL_RUN; exit 3")
    home.ok("retry", "job_1")
    home.ok("worker", "start", "-d")
    home.ok("wait", "job_1")
    job = home.json("show", "job_1")
    assert [attempt["exit_code"] for attempt in job["attempts_list"]] == [3, 3]
    assert home.ok("logs", "job_1", "--attempt", "1") == "try 1\n"
    assert home.ok("logs", "job_1") == "try 2\n"


def test_a_paused_job_stays_paused_over_a_restart_and_a_worker_without_a_daemon_misses_nothing(home: Home) -> None:
    home.ok("worker", "start", "-d")
    home.ok("enqueue", "trap 'touch got' USR1; echo $$ > pid; touch ready; while :; do sleep 0.02; done")
    eventually(lambda: (home.path / "ready").exists(), message="it does not run")
    home.ok("pause", "all")
    pid = (home.path / "pid").read_text().strip()
    eventually(lambda: _is_stopped(pid), message="it was not stopped")
    worker = home.json("worker", "list")[0]["pid"]
    os.kill(worker, signal.SIGSTOP)  # so that it does not find the new daemon before it is asked for something
    home.ok("daemon", "restart")
    job = home.json("show", "job_1")
    assert (job["state"], job["paused"], _is_stopped(pid)) == ("processing", True, True)
    assert home.ok("resume", "job_1") == "Job job_1 resumed\n"
    assert home.ok("kill", "all", "-s", "USR1") == "Job job_1 was sent USR1\n"
    os.kill(worker, signal.SIGCONT)
    eventually(lambda: (home.path / "got").exists(), message="it did not go on, or got no signal")
    assert home.json("show", "job_1")["paused"] is False
    home.ok("cancel", "job_1")


def _is_stopped(pid: str) -> bool:
    """Whether this shell is stopped: T, or D in vfork(2), waiting for a child that was stopped before its exec."""
    return _state(pid) in ("T", "D")


def _state(pid: str) -> str:
    """The state of a process: T is stopped (proc(5))."""
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0]


def test_a_daemon_that_drains_says_so(home: Home) -> None:
    home.ok("worker", "start", "-d")
    assert "starts no jobs" in home.cli("daemon", "drain").stderr
    assert "The daemon is draining, so it waits" in home.cli("enqueue", "true").stderr
    assert "drain" in home.cli("status").stderr
    assert "Draining" in home.ok("daemon", "status")
    assert home.json("status")["draining"] is True
    assert "The daemon is draining" in home.ok("explain", "job_1")
    home.ok("daemon", "drain", "--resume")
    home.ok("wait", "job_1")
    assert home.json("daemon", "status")["draining"] is False


def test_events_that_have_not_come_are_told_as_that(home: Home) -> None:
    home.ok("enqueue", "true")
    done = home.cli("events", "--since", "999", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, [])
    assert "no such event yet: 999; the newest is" in done.stderr
    done = home.cli("events", "--since", "999", "--follow")
    assert done.returncode == 2
    assert "no such event yet: 999" in done.stderr
