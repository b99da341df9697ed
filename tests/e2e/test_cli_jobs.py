"""Looking at jobs and changing them: status, list, show, cancel and the rest, the DLQ, queues, wait."""

import json
import signal
import time

import pytest

from tests.support.daemon import Home
from tests.support.eventually import eventually

SIX_LINES = "Pending: {}\nProcessing: {}\nCompleted: {}\nFailed: {}\nDead (DLQ): {}\nActive Workers: {}\n"


def running(home: Home, *command: str) -> str:
    """The id of a job with this command that has begun to run; the home has a detached worker for it."""
    home.ok("worker", "scale", "1")
    job = home.ok("enqueue", "-q", *command).strip()
    eventually(lambda: home.states()[job] == "processing", message="it does not run")
    return job


def test_status_is_six_lines_and_then_what_else_there_is(home: Home) -> None:
    assert home.ok("status") == SIX_LINES.format(0, 0, 0, 0, 0, 0)
    assert home.ok() == home.ok("status")
    home.ok("enqueue", "true")
    home.ok("enqueue", "--hold", "true")
    home.ok("cancel", home.ok("enqueue", "-q", "true").strip())
    assert home.ok("status") == SIX_LINES.format(1, 0, 0, 0, 0, 0) + "Held: 1\nCancelled: 1\n"
    assert home.json("status")["counts"]["held"] == 1


def test_a_paused_queue_is_told_of(home: Home) -> None:
    home.ok("queue", "set", "q", "--rate", "none")
    home.ok("queue", "pause", "q")
    home.ok("enqueue", "--queue", "q", "true")
    done = home.cli("status")
    assert done.stdout == SIX_LINES.format(1, 0, 0, 0, 0, 0)
    assert "Paused queues" in done.stderr
    assert home.json("queue", "list")[-1]["paused"] is True
    home.ok("queue", "resume", "q")
    assert "Paused" not in home.cli("status").stderr


def test_list_filters_and_formats(home: Home) -> None:
    assert home.cli("list", "--json").stdout == "[]\n"
    home.ok("enqueue", "a", "--label", "user=ada", "--name", "x1", "--queue", "q")
    home.ok("enqueue", "b", "--label", "user=bob", "--hold")
    home.ok("enqueue", "c d", "--name", "x2")

    def ids(*words: str) -> list[str]:
        return home.ok("list", "-q", *words).split()

    assert ids() == ["job_1", "job_2", "job_3"]
    assert ids("--state", "pending", "--state", "HELD") == ["job_1", "job_2", "job_3"]
    assert ids("--state", "held") == ["job_2"]
    assert ids("--label", "user=ada") == ["job_1"]
    assert ids("--name", "x*") == ["job_1", "job_3"]
    assert ids("--queue", "q") == ["job_1"]
    assert ids("--since", "1h") == ["job_1", "job_2", "job_3"]
    assert ids("--since", "2999-01-01") == []
    assert ids("--limit", "2") == ["job_2", "job_3"]
    lines = home.ok("list").splitlines()
    assert [line.split()[0] for line in lines] == ["ID", "job_1", "job_2", "job_3"]
    assert lines[3].endswith("  c d")
    assert home.ok("list", "--columns", "id,labels").splitlines()[1] == "job_1  user=ada"
    assert [json.loads(line)["id"] for line in home.ok("list", "--jsonl").splitlines()] == ids()
    assert home.cli("list", "--columns", "id,colour").returncode == 2
    assert home.cli("list", "--state", "bogus").returncode == 2


def test_list_has_no_limit(home: Home) -> None:
    home.ok("enqueue", "-f", "-", "-q", input="true\n" * 2500)
    assert len(home.json("list")) == 2500
    assert len(home.ok("list").splitlines()) == 2501


def test_show_tells_all_of_a_job_and_its_attempts(home: Home) -> None:
    home.cli("run", "--name", "try", "--label", "a=1", "--max-retries", "2", "--backoff-base", "1", "exit 9")
    shown = home.ok("show", "job_1")
    assert "Dead (DLQ)" in shown
    assert "2 of at most 2" in shown
    assert "exit 9" in shown
    assert shown.splitlines()[-1].split()[0] == "2"
    job = home.json("show", "1")
    assert [attempt["exit_code"] for attempt in job["attempts_list"]] == [9, 9]
    assert home.json("inspect", "last")["id"] == "job_1"
    assert home.cli("show", "nope").returncode == 4


def test_cancel_ends_a_waiting_and_a_running_job(home: Home) -> None:
    job = running(home, "sleep 600")
    home.ok("enqueue", "true")
    assert home.ok("cancel", job, "last") == f"Job {job} cancelled\nJob job_2 cancelled\n"
    assert set(home.states().values()) == {"cancelled"}
    again = home.cli("cancel", job)
    assert again.returncode == 5
    assert job in again.stderr
    assert home.cli("cancel", "nope").returncode == 4
    assert home.cli("cancel").returncode == 2


def test_kill_sends_a_signal_and_retries_apply(home: Home) -> None:
    job = running(home, "sleep 600", "--max-retries", "2", "--backoff-base", "1000")
    assert home.ok("kill", job, "-s", "USR1") == f"Job {job} was sent USR1\n"
    eventually(lambda: home.states() == {job: "failed"}, message="it did not fail")
    assert home.json("show", job)["signal"] == signal.SIGUSR1
    assert home.cli("kill", job).returncode == 5
    assert home.cli("kill", job, "-s", "NOPE").returncode == 2
    assert home.ok("retry", job) == f"Job {job} will run again\n"
    eventually(lambda: home.states() == {job: "processing"}, message="it was not retried")


def test_pause_and_resume_a_running_job(home: Home) -> None:
    job = running(home, "sleep 600")
    home.ok("pause", job)
    assert (home.json("show", job)["state"], home.json("show", job)["paused"]) == ("processing", True)
    assert "Processing, paused" in home.ok("list")
    home.ok("resume", job)
    assert home.json("show", job)["paused"] is False
    home.ok("cancel", job)
    assert home.cli("pause", job).returncode == 5


def test_hold_release_edit_and_rm(home: Home) -> None:
    home.ok("enqueue", "true")
    home.ok("hold", "job_1")
    assert home.states() == {"job_1": "held"}
    home.ok("edit", "job_1", "priority=5", "timeout=1m", "labels=a=1,b=2", "command=echo edited", "name=n")
    job = home.json("show", "job_1")
    assert (job["priority"], job["timeout"], job["labels"]) == (5, 60, {"a": "1", "b": "2"})
    assert (job["command"], job["name"]) == ("echo edited", "n")
    home.ok("edit", "job_1", "timeout=none", 'command=["echo", "argv"]')
    job = home.json("show", "job_1")
    assert (job["timeout"], job["command"]) == (None, ["echo", "argv"])
    for bad in ("priority=high", "colour=red", "timeout=soon", "command=", "priority"):
        assert home.cli("edit", "job_1", bad).returncode == 2, bad
    home.ok("release", "job_1")
    assert home.states() == {"job_1": "pending"}
    assert home.ok("rm", "@pending") == "Job job_1 removed\n"
    assert home.states() == {}
    nothing = home.cli("rm", "@pending")
    assert (nothing.returncode, nothing.stderr) == (4, "Error: no job matches '@pending'\n")


def test_edit_in_an_editor(home: Home) -> None:
    home.ok("enqueue", "--env", "SECRET=hidden", "echo before")
    editor = home.path / "editor"
    editor.write_text(f'#!/bin/sh\ncp "$1" {home.path}/seen\nsed -i s/before/after/ "$1"\n')
    editor.chmod(0o700)
    home.ok("edit", "job_1", env={"EDITOR": str(editor), "VISUAL": str(editor)})
    assert home.json("show", "job_1")["command"] == "echo after"
    assert "hidden" not in (home.path / "seen").read_text()
    nothing = home.cli("edit", "job_1", env={"EDITOR": "true", "VISUAL": "true"})
    assert (nothing.returncode, nothing.stderr) == (0, "Nothing was changed.\n")


def test_an_editor_does_not_overwrite_what_somebody_else_has_changed(home: Home) -> None:
    home.ok("enqueue", "echo before")
    editor = home.path / "editor"
    editor.write_text('#!/bin/sh\nqueuectl edit job_1 "command=echo theirs"\nsed -i s/before/ours/ "$1"\n')
    editor.chmod(0o700)
    done = home.cli("edit", "job_1", env={"EDITOR": str(editor), "VISUAL": str(editor)})
    assert done.returncode == 5
    assert home.json("show", "job_1")["command"] == "echo theirs"


def test_the_dead_letter_queue(home: Home) -> None:
    assert home.json("dlq", "list") == []
    for code in (1, 2, 3):
        assert home.cli("run", f"exit {code}").returncode == code
    home.cli("run", "true")
    assert [job["id"] for job in home.json("dlq", "list")] == ["job_1", "job_2", "job_3"]
    assert "exit 2" in home.ok("dead", "list")
    assert "exit 1" in home.ok("dlq", "show", "job_1")
    assert home.cli("dlq", "show", "job_4").returncode == 5
    assert home.cli("dlq", "show", "nope").returncode == 4
    assert home.cli("dlq", "retry", "job_4").returncode == 5
    assert home.cli("dlq", "retry", "nope").returncode == 4
    assert home.cli("dlq", "retry").returncode == 2
    assert home.cli("dlq", "retry", "job_1", "--all").returncode == 2
    assert home.ok("dlq", "retry", "job_1") == "Job job_1 will run again\n"
    job = home.json("show", "job_1")
    assert (job["state"], job["attempts"], len(job["attempts_list"])) == ("pending", 0, 1)
    assert home.ok("dlq", "purge", "--all", "--older-than", "7d") == ""
    assert home.ok("dlq", "purge", "--all", "-q") == "job_2\njob_3\n"
    assert home.states() == {"job_1": "pending", "job_4": "completed"}


def test_wait(home: Home) -> None:
    assert home.cli("wait").returncode == 0
    home.ok("enqueue", "--delay", "1h", "true")
    home.ok("enqueue", "--hold", "true")
    assert home.cli("wait").returncode == 0, "what is delayed or held does not count"
    home.ok("enqueue", "true")
    done = home.cli("wait", "--timeout", "0.2")
    assert done.returncode == 124
    assert "No workers are active" in done.stderr
    home.ok("worker", "start", "-d", "--count", "2")
    assert home.cli("wait").returncode == 0
    for code in (0, 6, 7):
        home.ok("enqueue", f"exit {code}", "--max-retries", "0")
    done = home.cli("wait", "job_4", "5", "last", "--exit-status")
    assert done.returncode == 6
    assert done.stdout == "job_4 completed\njob_5 dead (exit 6)\njob_6 dead (exit 7)\n"
    assert home.cli("wait", "job_6").returncode == 0
    assert home.cli("wait", "nope").returncode == 4
    for slip in ("batch:nope", "label:nope=1", "name:nope*"):
        done = home.cli("wait", slip, "--exit-status")
        assert (done.returncode, done.stdout) == (4, ""), "what fits no job has not succeeded"
        assert repr(slip) in done.stderr
    assert home.cli("wait", "@blocked").returncode == 0, "a state may be empty"
    running(home, "sleep 600")
    assert home.cli("wait", "last", "job_4", "--any", "--exit-status").returncode == 0
    assert home.cli("wait", "last", "--timeout", "0.1").returncode == 124


def test_config(home: Home) -> None:
    home.ok("config", "set", "maxRetries", "5")
    home.ok("config", "set", "backoff-base", "3")
    assert home.ok("config", "get", "max_retries") == "5\n"
    assert home.json("config", "get", "backoffBase")["value"] == 3
    job = home.json("enqueue", "true")
    assert (job["max_retries"], job["backoff_base"]) == (5, 3)
    home.ok("config", "unset", "max-retries")
    assert home.ok("config", "get", "maxRetries") == "3\n"
    assert {setting["key"] for setting in home.json("config", "list")} >= {"max_retries", "backoff_base", "timeout"}
    for key, value, said in (
        ("maxRetires", "5", "max_retries"),
        ("maxRetries", "-1", "0 to 1000"),
        ("maxRetries", "many", "many"),
    ):
        done = home.cli("config", "set", key, value)
        assert done.returncode == 2
        assert said in done.stderr
    assert home.cli("config", "get", "nope").returncode == 2


def test_events_are_told_in_order(home: Home) -> None:
    assert home.cli("run", "exit 3").returncode == 3
    told = home.json("events")
    assert [event["event_seq"] for event in told] == list(range(1, len(told) + 1))
    kinds = [event["kind"] for event in told if event.get("job") == "job_1"]
    assert kinds == ["job.pending", "job.processing", "job.dead"]
    assert len(home.json("events", "--since", str(len(told) - 1))) == 1
    assert home.json("events", "--since", str(told[-1]["event_seq"] + 100)) == []
    assert "job.dead" in home.ok("events")
    follower = home.popen("events", "--follow", "--json", "--since", "0")
    assert follower.stdout is not None
    for event in told:
        assert json.loads(follower.stdout.readline())["event_seq"] == event["event_seq"]
    home.ok("enqueue", "true")
    while json.loads(follower.stdout.readline()).get("job") != "job_2":
        pass
    follower.send_signal(signal.SIGINT)
    assert follower.wait(timeout=20) == 130


@pytest.mark.parametrize("base, gaps", [(2, [2.0])])
def test_a_retry_waits_for_its_backoff_and_is_seen_failed_meanwhile(home: Home, base: int, gaps: list[float]) -> None:
    home.ok("worker", "start", "-d")
    home.ok("enqueue", "exit 1", "--max-retries", "2", "--backoff-base", str(base))
    eventually(lambda: home.states() == {"job_1": "failed"}, message="failed was not seen")
    home.ok("wait")
    first, second = home.json("show", "job_1")["attempts_list"]
    assert _seconds(second["started_at"]) - _seconds(first["finished_at"]) >= gaps[0]


def _seconds(text: str) -> float:
    return time.mktime(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")) + float(text[19:-1])


def test_a_change_of_many_jobs_that_is_interrupted_says_how_many_were_changed(home: Home) -> None:
    home.ok("enqueue", "-q", "-f", "-", input="true\n" * 6_000)
    # What it prints is more than a pipe holds, so it cannot end before the interrupt.
    cancel = home.popen("cancel", "all", "-y")
    assert cancel.stdout is not None
    assert cancel.stderr is not None
    assert cancel.stdout.readline() == "Job job_1 cancelled\n"
    cancel.send_signal(signal.SIGINT)
    out, err = cancel.stdout.read(), cancel.stderr.read()
    assert cancel.wait(timeout=30) == 130
    count = home.json("status")["counts"]["cancelled"]
    assert 0 < count < 6_000
    assert out.count("\n") == count - 1
    assert err == f"Error: interrupted: {count:,} jobs cancelled, the others are unchanged\n"


def test_the_removal_of_a_job_says_what_becomes_of_those_that_waited_for_it(home: Home) -> None:
    home.ok("enqueue", "--id", "parent", "true")
    for end in ("", ":dead", ":any"):
        home.ok("enqueue", "--after", f"parent{end}", "true")
    shown = home.cli("rm", "parent", "--dry-run")
    assert "3 jobs waiting for these: 1 would be cancelled, 2 would no longer wait.\n" in shown.stderr
    removed = home.cli("rm", "parent", "job_4")
    assert removed.stderr == "2 jobs waited for removed jobs: 1 cancelled, 1 no longer waiting for them.\n"
    assert home.states() == {"job_2": "cancelled", "job_3": "pending"}
    assert home.cli("rm", "all", "-y").stderr == ""


def test_a_release_of_a_job_that_is_not_held_says_what_lets_it_run(home: Home) -> None:
    home.ok("enqueue", "-q", "--id", "late", "--delay", "1h", "true")
    home.ok("enqueue", "-q", "--id", "kept", "--hold", "true")
    home.ok("enqueue", "-q", "--id", "child", "--after", "kept", "true")
    home.ok("enqueue", "-q", "--id", "fails", "--backoff-base", "1000", "exit 1")
    home.ok("worker", "start", "-d")
    eventually(lambda: home.states()["fails"] == "failed")
    for job, way_out in (
        ("late", "edit late run_at=none"), ("child", "edit child depends_on=none"), ("fails", "retry fails"),
    ):  # fmt: skip
        refused = home.cli("release", job)
        assert refused.returncode == 5
        assert refused.stderr.startswith(f"Error: {job} is not held; it ")
        assert refused.stderr.endswith(f": queuectl {way_out}\n")
        home.ok(*way_out.split())
    eventually(lambda: (home.states()["late"], home.states()["child"]) == ("completed", "completed"))


def test_a_retry_changes_the_job_first_and_an_edit_of_an_ended_job_says_how_to_run_it(home: Home) -> None:
    home.ok("worker", "start", "-d")
    home.ok("enqueue", "-q", "--id", "a", "--max-retries", "1", "exit 3")
    home.cli("wait", "a")
    home.ok("retry", "a", "command=echo fine", "labels=k=v")
    home.ok("wait", "a")
    job = home.json("show", "a")
    assert (job["state"], job["command"], job["labels"]) == ("completed", "echo fine", {"k": "v"})
    assert "to run it with the change: queuectl retry a" in home.cli("edit", "a", "name=n").stderr
    for words, said in ((["a", "nam=x"], "did you mean name"), (["name=x"], "give the ID"), (["a", "timeout=0"], "0")):
        refused = home.cli("retry", *words)
        assert (refused.returncode, refused.stdout) == (2, ""), words
        assert said in refused.stderr
    assert home.json("show", "a")["runs"] == 2


def test_a_wait_says_what_it_waits_for_and_again_when_that_changes(home: Home) -> None:
    home.ok("worker", "start", "-d")
    home.ok("enqueue", "-q", "--id", "big", "--slots", "2", "true")
    home.ok("enqueue", "-q", "--id", "kept", "--hold", "true")
    waits = [home.popen("wait", "big"), home.popen("wait"), home.popen("wait", "big", "kept")]
    said = [waiting.stderr.readline() for waiting in waits if waiting.stderr is not None]
    assert said[0].startswith("Waiting for big (pending). It needs slots=2")
    assert said[1].startswith("Waiting for the jobs that are ready; big: It needs slots=2")
    assert said[2].startswith("Waiting for 2 jobs (1 pending, 1 held); big: It needs slots=2")
    home.ok("queue", "pause", "default")
    assert waits[0].stderr is not None
    assert waits[2].stderr is not None
    assert "The queue default is paused" in waits[0].stderr.readline()
    assert waits[1].wait(timeout=30) == 0  # what is paused does not count
    home.ok("queue", "resume", "default")
    assert "is paused" not in waits[0].stderr.readline()
    home.ok("worker", "scale", "2")
    assert waits[0].wait(timeout=30) == 0
    line = waits[2].stderr.readline()
    while "kept" not in line:
        line = waits[2].stderr.readline()
    assert "kept: It is held" in line or line.startswith("Waiting for kept (held). It is held")
    home.ok("release", "kept")
    assert waits[2].wait(timeout=30) == 0


def test_a_wait_that_is_quiet_or_for_a_program_says_nothing(home: Home) -> None:
    home.ok("enqueue", "-q", "--hold", "--id", "kept", "true")
    home.ok("worker", "start", "-d")
    for option in ("-q", "--json"):
        done = home.cli("wait", "kept", "--timeout", "1.5", option)
        assert (done.returncode, "Waiting" in done.stderr) == (124, False)
