"""Arrays, a job for each line, and what runs when all have ended: what a person at the terminal notices."""

import json
from pathlib import Path

from tests.support.daemon import Home


def commands(home: Home) -> list[object]:
    return [job["command"] for job in home.json("list")]


def test_an_array_is_a_job_for_each_number(home: Home) -> None:
    home.ok("worker", "start", "-d")
    done = home.cli("enqueue", "--array", "1-5:2", "echo {} $QUEUECTL_ARRAY_INDEX", "--name", "part {}", "--env", "A=1")
    assert done.stdout == "".join(f"Job enqueued with ID: job_{n}\n" for n in (1, 2, 3))
    jobs = home.json("list")
    batch = jobs[0]["batch"]
    assert [job["batch"] for job in jobs] == [batch] * 3
    assert f"They are batch {batch}" in done.stderr
    assert [job["name"] for job in jobs] == ["part 1", "part 3", "part 5"]
    assert jobs[0]["env_names"] == ["A", "QUEUECTL_ARRAY_INDEX"]
    home.ok("wait", f"batch:{batch}")
    assert [home.ok("logs", job["id"]) for job in jobs] == ["1 1\n", "3 3\n", "5 5\n"]


def test_a_job_of_an_array_does_not_hand_its_number_on(home: Home) -> None:
    home.ok("worker", "start", "-d")
    home.ok("enqueue", "--array", "7", ": {}; queuectl enqueue --id inner 'echo [$QUEUECTL_ARRAY_INDEX]'")
    home.ok("wait")
    assert home.ok("logs", "inner") == "[]\n"


def test_a_place_in_an_option_is_filled_with_the_line_as_it_is(home: Home) -> None:
    home.ok("worker", "start", "-d")
    sub = home.path / "a b"
    sub.mkdir()
    options = ("--id", "x-{}", "--name", "n {}", "--unique", "u{}", "--key", "k{}", "--stdin", "in {}")
    options += ("--label", "l={}", "--label", "same=1", "--env", "X=<{}>", "--env", "Y=y")
    home.ok("enqueue", "--array", "3-4", *options, "--then", "echo $Y:$X", 'echo "$(cat) $X $Y $QUEUECTL_ARRAY_INDEX"')
    job = home.json("show", "x-4")
    told = [job[key] for key in ("name", "unique_key", "key", "labels")]
    assert told == ["n 4", "u4", "k4", {"l": "4", "same": "1"}]
    last = home.json("show", "last")
    assert (last["labels"], last["env_names"]) == ({"same": "1"}, ["Y"])
    home.ok(
        "enqueue", "--each", "-", "--cwd", f"{home.path}/{{}}", "--env", "X={}", ": {}; pwd; echo $X", input="a b\n"
    )
    home.ok("wait")
    assert home.ok("logs", "x-4") == "in 4 <4> y 4\n"
    assert home.ok("logs", last["id"]) == "y:\n"
    assert home.ok("logs", "last") == f"{sub}\na b\n"


def test_so_many_of_an_array_at_once(home: Home) -> None:
    home.ok("enqueue", "--hold", "--array", "1-3%2", "--batch", "mine", "--", "work", "{}", "x{}")
    jobs = home.json("list")
    assert [job["command"] for job in jobs] == [["work", "1", "x1"], ["work", "2", "x2"], ["work", "3", "x3"]]
    assert {(job["batch"], job["key"], job["key_limit"]) for job in jobs} == {("mine", "batch:mine", 2)}


def test_lines_are_one_argument_each_whatever_they_hold(home: Home) -> None:
    odd = "a b\n$(touch no)\n\nc'\"\udcff\n"
    home.ok("worker", "start", "-d")
    home.ok("enqueue", "--each", "-", "--", "printf", "<%s>", "{}", input=odd)
    home.ok("enqueue", "--each", "-", "printf '<%s>' {}", input=odd)
    home.ok("enqueue", "-0", "--each", "-", "--", "printf", "<%s>", input="two\nlines\0last")
    home.ok("wait")
    shown = [home.ok("logs", str(seq)) for seq in range(1, 9)]
    assert shown[:3] == shown[3:6] == ["<a b>", "<$(touch no)>", "<c'\"\udcff>"]
    assert shown[6:] == ["<two\nlines>", "<last>"]
    assert not (home.path / "no").exists()


def test_a_file_of_lines_too_large_for_a_message(home: Home) -> None:
    file = home.path / "lines"
    file.write_text("".join(f"{number}\n" for number in range(2500)))
    ids = home.ok("enqueue", "-q", "--hold", "--each", str(file), "--then", "report", "work {}").split()
    assert ids == [f"job_{number}" for number in range(1, 2502)]
    last = home.json("show", "last")
    assert (last["state"], last["command"]) == ("blocked", "report")
    assert home.json("status")["counts"]["held"] == 2500


def test_what_follows_runs_when_all_have_ended_as_it_was_asked_for(home: Home) -> None:
    home.ok("worker", "start", "-d")
    words = ("--max-retries", "0", "--then", "good", "--then-any", "echo any", "--then-failed", "echo failed")
    ids = home.ok("enqueue", "-q", "--array", "1-2", "exit {}", *words).split()
    home.ok("wait", *ids)
    states = home.states()
    assert [states[id] for id in ids] == ["dead", "dead", "cancelled", "completed", "completed"]
    batch = home.json("show", ids[0])["batch"]
    assert f"batch:{batch}" in home.json("show", ids[2])["reason"]
    assert home.json("show", ids[3])["batch"] is None


def test_nothing_follows_no_job_at_all(home: Home) -> None:
    for words in (["-f", "-"], ["--each", "-", "work"]):
        done = home.cli("enqueue", *words, "--then", "report", input="\n")
        assert (done.returncode, done.stdout) == (0, "")
        assert "Nothing enqueued" in done.stderr
    assert home.json("list") == []


def test_one_job_may_be_followed_too_and_keeps_what_is_its_own(home: Home) -> None:
    ids = home.ok("enqueue", "-q", "--id", "first", "--hold", "--unique", "u", "--queue", "q", "one", "--then", "two")
    assert ids.split() == ["first", "job_2"]
    first, second = home.json("list")
    assert (first["unique_key"], second["unique_key"]) == ("u", None)
    assert (first["queue"], second["queue"], second["state"]) == ("q", "q", "blocked")


def test_the_command_may_be_json(home: Home) -> None:
    given = json.dumps({"command": ["work", "{}"], "priority": 3, "batch": "b"})
    home.ok("enqueue", "--array", "1,5", given, "--priority", "4")
    jobs = home.json("list")
    assert [(job["command"], job["priority"], job["batch"]) for job in jobs] == [
        (["work", "1"], 4, "b"),
        (["work", "5"], 4, "b"),
    ]


def test_a_bad_one_stores_nothing_and_is_named(home: Home) -> None:
    home.ok("daemon", "start")
    for words, said in (
        (["--array", "9-1", "work"], "'9-1'"),
        (["--array", "1-3", "--each", "f", "work"], "are mutually exclusive"),
        (["--array", "1-3", "--id", "x", "work"], "--id names one job"),
        (["--array", "1-3%2", "--key", "k", "work"], "are mutually exclusive"),
        (["--array", "1-3"], "no command"),
        (["--each", "/nonexistent", "work"], "/nonexistent"),
        (["--each", "-", 'work "{}"'], "inside double quotes"),
        (["-0", "work"], "-0 requires --each"),
        (["--key-limit", "2", "work"], "--key-limit requires --key"),
        (["--on-conflict", "skip", "work"], "--on-conflict requires --unique"),
        (["--array", "1-3", "--key-limit", "2", "work"], "--key-limit requires --key"),
        (['{"command":"a","env":{"A=B":"c"}}'], "invalid name in env: 'A=…'"),
        (["--array", "1-3", "--timeout", "5y", "work"], "'5y'"),
        (["--array", "1-3", "--priority", "9999999", "work"], "priority"),
        (["--array", "1-3", "work", "--then", " "], "--then ' ': invalid command"),
        (["--array", "1-3", "work", "--follow"], "--follow works with one job"),
    ):
        done = home.cli("enqueue", *words, input="x\n")
        assert (done.returncode, done.stdout) == (2, ""), words
        assert said in done.stderr, (words, done.stderr)
    done = home.cli("enqueue", "--array", "1-3", "--unique", "u", "work")
    assert (done.returncode, "index 2: " in done.stderr) == (5, True)
    assert home.json("list") == []


def test_lines_of_a_file_name_one_another(home: Home, tmp_path: Path) -> None:
    lines = [
        {"command": "a", "id": "a", "depends_on": ["c"]},
        {"command": "b", "id": "b"},
        {"command": "c", "id": "c", "depends_on": ["b"], "hold": True},
    ]
    home.ok("enqueue", "-f", "-", input="\n".join(map(json.dumps, lines)))
    assert home.states() == {"a": "blocked", "b": "pending", "c": "held"}
    for count in (0, 2000):
        padding = "true\n" * count
        circle = [
            {"command": "x", "id": "x", "depends_on": ["z"]},
            {"command": "y", "id": "y", "depends_on": ["x"]},
            {"command": "z", "id": "z", "depends_on": ["y"]},
        ]
        done = home.cli("enqueue", "-f", "-", input=padding + "\n".join(map(json.dumps, circle)))
        assert (done.returncode, done.stdout) == (5, "")
        assert f"line {count + 3}: " in done.stderr
        assert "dependency cycle" in done.stderr
        unknown = json.dumps({"command": "x", "depends_on": ["nobody"]})
        done = home.cli("enqueue", "-f", "-", input=f"{padding}\n{unknown}\ntrue")
        assert (done.returncode, done.stdout) == (4, "")
        assert f"line {count + 2}: " in done.stderr
        assert "'nobody'" in done.stderr
        twice = '{"command":"x","id":"twice"}\n' * 2
        done = home.cli("enqueue", "-f", "-", input=padding + twice)
        assert (done.returncode, done.stdout) == (5, "")
        assert f"line {count + 2}: the id 'twice' is given twice" in done.stderr
    assert len(home.json("list")) == 3


def test_a_chain_that_broke_says_which_job_it_was(home: Home) -> None:
    home.ok("worker", "start", "-d")
    home.ok("enqueue", "--id", "root", "--max-retries", "0", "--hold", "exit 3")
    home.ok("enqueue", "--id", "second", "--after", "root", "true")
    home.ok("enqueue", "--id", "third", "--after", "last", "true")
    home.ok("enqueue", "--id", "cleanup", "--after-failed", "root", "--after-any", "third", "echo clean")
    home.ok("release", "root")
    home.ok("wait", "cleanup")
    assert home.json("show", "second")["reason"].startswith("dependency root ended dead")
    assert home.json("show", "third")["reason"].startswith("dependency second ended cancelled")
    assert home.states()["cleanup"] == "completed"


def test_a_unique_key_that_is_taken_is_told_truthfully(home: Home) -> None:
    home.ok("enqueue", "--unique", "k", "--hold", "first")
    done = home.cli("enqueue", "--unique", "k", "--on-conflict", "skip", "second")
    assert (done.returncode, done.stdout) == (0, "job_1\n")
    assert done.stderr == "Job job_1 with unique key 'k' already exists; nothing enqueued\n"
    assert home.json("enqueue", "--unique", "k", "--on-conflict", "skip", "second")["skipped"] is True
    done = home.cli("enqueue", "--unique", "k", "--on-conflict", "replace", "third")
    assert done.stdout == "Job enqueued with ID: job_2\n"
    assert "Job job_1, which had the same unique key, is cancelled" in done.stderr
    line = json.dumps({"command": "x", "unique_key": "k", "on_conflict": "skip"})
    done = home.cli("enqueue", "-f", "-", input=f"{line}\necho\n")
    assert done.stdout == "job_2\nJob enqueued with ID: job_3\n"
    assert "1 of them already existed" in done.stderr


def test_what_keeps_a_job_from_starting_is_said_at_once(home: Home) -> None:
    home.ok("queue", "set", "night", "--rate", "none")
    home.ok("queue", "pause", "night")
    done = home.cli("enqueue", "--queue", "night", "true")
    assert "Queue night is paused" in done.stderr
    assert "No workers are active" in done.stderr
    waiting = home.popen("enqueue", "--wait", "true")
    assert waiting.stderr is not None
    assert "so it waits. Start some with" in waiting.stderr.readline()
    home.ok("worker", "start", "-d")
    assert waiting.wait(timeout=30) == 0
    assert "No workers" not in waiting.stderr.read(), "it was said before"
    home.ok("worker", "stop")
    done = home.cli("enqueue", "-f", "-", input='true\n{"command":"true","queue":"night"}\n')
    assert "Queue night is paused" in done.stderr
    done = home.cli("enqueue", "--run-at", "2099-01-01", "true")
    assert "It runs no earlier than 2099-01-01 00:00:00" in done.stderr
    assert home.cli("enqueue", "-q", "--queue", "night", "true").stderr == ""
    home.ok("worker", "start", "-d", "--count", "2")
    said = "It needs 5 slots, but there are 2 in all, so it waits."
    assert said in home.cli("enqueue", "--slots", "5", "true").stderr
    assert said in home.cli("enqueue", "-f", "-", input='true\n{"command":"true","slots":5}\n').stderr
    assert "slots" not in home.cli("enqueue", "--slots", "2", "true").stderr
    home.ok("config", "set", "slots", "8")
    assert "slots" not in home.cli("enqueue", "--slots", "5", "true").stderr


def test_an_option_without_an_effect_is_one_only_where_it_was_typed(home: Home) -> None:
    home.ok("enqueue", '{"command":"a","key":"k","uniqueKey":"u"}', "--key-limit", "2", "--on-conflict", "skip")
    home.ok("enqueue", '{"command":"a","key_limit":1,"on_conflict":"error"}')
    home.ok("enqueue", "-f", "-", "--key-limit", "2", input='{"command":"a","key":"k"}')


def test_times_and_durations_as_people_write_them(home: Home) -> None:
    zone = {"TZ": "Europe/Berlin"}
    home.ok("enqueue", "--run-at", "2099-07-01 12:00", "true", env=zone)
    home.ok("enqueue", '{"command":"true","runAt":"2099-07-01T12:00","timeout":"1h30m","kill_grace":"500ms"}', env=zone)
    first, second = home.json("list")
    assert first["run_at"] == second["run_at"] == "2099-07-01T10:00:00.000Z"
    assert (second["timeout"], second["kill_grace"]) == (5400, 0.5)
    home.ok("config", "set", "timeout", "2m")
    assert home.ok("config", "get", "timeout") == "120\n"
    assert home.json("enqueue", "--retry-on", "tempfail,KILL", "true")["retry_on"] == [75, "SIGKILL"]


def test_the_help_reads_well_on_a_narrow_terminal(home: Home) -> None:
    shown = home.ok("enqueue", "--help", env={"COLUMNS": "80"})
    assert max(map(len, shown.splitlines())) <= 80
    for heading in ("Identity:", "Scheduling and dependencies:", "Many at once:", "Timeouts and retries:"):
        assert f"\n{heading}\n" in shown
