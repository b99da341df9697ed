"""`queuectl enqueue` in every form it can be typed in, and what bad input gets."""

import json
from pathlib import Path
from typing import Final

import pytest

from tests.support.daemon import Home

BAD_INPUT: Final = [
    (['{"command": }'], "invalid JSON at character 13"),
    (["{ echo hi; }"], "--shell"),
    (["{}"], "command"),
    (['{"command": 5}'], "invalid command: 5; expected"),
    (['{"command": ""}'], "command"),
    (['{"command": []}'], "command"),
    (['{"command": "a\\u0000b"}'], "NUL"),
    (['{"command": "x", "timeot": 3}'], "timeout"),
    (['{"command": "x", "priority": 99999999999999999999999}'], "priority"),
    (['{"command": "x", "timeout": NaN}'], "timeout"),
    (['{"command": "x", "timeout": -1}'], "invalid timeout: -1; expected"),
    (['{"command": "x", "max_retries": 1.5}'], "invalid max_retries: 1.5; expected"),
    (['{"command": "x", "hold": "yes"}'], "hold"),
    (['{"command": "x", "name": "\\ud800"}'], "surrogate U+D800"),
    (["true", "--max-retries=-1"], "invalid max_retries: -1; expected"),
    (["true", "--max-retries", "x"], "x"),
    (["true", "--run-at", "soon"], "ISO 8601"),
    (["true", "--delay", "soon"], "'soon' is not a valid duration"),
    (["true", "--delay", "1", "--run-at", "2099-01-01"], "delay"),
    (["true", "--env", "A"], "KEY=VALUE"),
    (["true", "--id", "all"], "invalid id: 'all'; expected"),
    ([""], "command"),
    ([], "no command"),
    (["ls", "-l"], "after --"),
    (["-f", "/nonexistent/file"], "/nonexistent/file"),
    (["-f", "-", "true"], "-f FILE"),
    (["-"], "queuectl enqueue -f -"),
    (["@jobs.txt"], "queuectl enqueue -f jobs.txt"),
    (["null"], "the command is null"),
    (["42"], "the command is a number"),
    (['[{"command":"x"}]'], "-f FILE"),
    (['[{"command":"x"]'], "-f FILE"),
    (['["echo", "a b"]'], "queuectl enqueue -- echo 'a b'"),
    (['"echo hi"'], "queuectl enqueue 'echo hi'"),
    (['{"command":"echo', 'hi"}'], "single quotes"),
    (["[{command:echo", "hi}]"], "single quotes"),
    (["true", "--then", "@f"], "-f f"),
    (["--script", "/nonexistent/file"], "/nonexistent/file"),
    (["--script", "f", "--stdin", "x"], "stdin"),
]
"""What is typed, and what the error says of it."""

BAD_LINES: Final = [
    ('{"command": 3}', "invalid command: 3; expected"),
    ("{oops}", "invalid JSON"),
    ('{"command": "x", "timeot": 1}', "timeout"),
]


def test_json_as_in_the_first_example(home: Home) -> None:
    done = home.cli("enqueue", '{"command":"echo Hello World"}')
    assert (done.returncode, done.stdout) == (0, "Job enqueued with ID: job_1\n")
    assert "queuectl worker start" in done.stderr


def test_a_shell_string_an_argv_and_a_command_with_options(home: Home) -> None:
    home.ok("enqueue", "echo a && echo b")
    home.ok("enqueue", "echo", "a b", "c")
    home.ok("enqueue", "--", "ls", "-l", "--json")
    home.ok("enqueue", "--shell", "{ echo hi; }")
    assert [job["command"] for job in home.json("list")] == [
        "echo a && echo b", ["echo", "a b", "c"], ["ls", "-l", "--json"], "{ echo hi; }",
    ]  # fmt: skip


def test_quiet_prints_the_bare_id_and_json_the_job(home: Home) -> None:
    assert home.cli("enqueue", "-q", "true").stdout == "job_1\n"
    job = home.json("enqueue", "true")
    assert (job["id"], job["seq"], job["state"], job["command"]) == ("job_2", 2, "pending", "true")


def test_options_win_over_the_json(home: Home) -> None:
    given = {"command": "x", "maxRetries": 9, "priority": 1, "labels": {"a": "1", "b": "1"}, "runAt": "2099-01-01"}
    job = home.json(
        "enqueue", json.dumps(given),
        "--max-retries", "2", "--priority", "-5", "--label", "b=2", "--delay", "1h", "--hold",
        "--id", "mine", "--name", "n", "--queue", "q", "--timeout", "1m30s", "--env", "A=1", "--stdin", "in",
    )  # fmt: skip
    assert job["id"] == "mine"
    assert (job["max_retries"], job["priority"], job["labels"]) == (2, -5, {"a": "1", "b": "2"})
    assert (job["state"], job["queue"], job["name"], job["timeout"]) == ("held", "q", "n", 90)
    assert (job["env_names"], job["stdin_bytes"]) == (["A"], 2)


def test_the_job_takes_along_folder_environment_and_umask(home: Home) -> None:
    folder = home.path / "here"
    folder.mkdir()
    done = home.cli("run", "pwd; umask; echo $MARK", cwd=folder, env={"MARK": "mine"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(folder), done.stdout.split()[1], "mine"]
    done = home.cli("run", "--cwd", "..", "pwd", cwd=folder)
    assert done.stdout.strip() == str(home.path)


def test_a_printed_job_can_be_enqueued_again(home: Home) -> None:
    printed = home.json("enqueue", "--label", "a=1", "--once", "echo x")
    again = home.json("enqueue", json.dumps(printed | {"id": None}))
    assert (again["id"], again["labels"], again["once"]) == ("job_2", {"a": "1"}, True)


def test_bad_input_is_a_sentence_and_stores_nothing(home: Home) -> None:
    for words, said in BAD_INPUT:
        done = home.cli("enqueue", *words)
        assert (done.returncode, done.stdout) == (2, ""), words
        assert said in done.stderr, words
        assert "Traceback" not in done.stderr
    assert home.json("list") == []


def test_a_taken_id_is_a_conflict_that_names_the_job(home: Home) -> None:
    home.ok("enqueue", "--id", "mine", "true")
    done = home.cli("enqueue", "--id", "mine", "false")
    assert (done.returncode, done.stdout) == (5, "")
    assert "mine" in done.stderr
    assert len(home.json("list")) == 1


def test_lenient_warns_of_an_unknown_key(home: Home) -> None:
    done = home.cli("enqueue", "--lenient", '{"command": "x", "timeot": 3}')
    assert done.returncode == 0
    assert "timeot" in done.stderr


def test_an_unknown_dependency_is_not_found(home: Home) -> None:
    assert home.cli("enqueue", "--after", "nope", "true").returncode == 4
    home.ok("enqueue", "true")
    job = home.json("enqueue", "--after", "job_1:any", "true")
    assert (job["state"], job["depends_on"]) == ("blocked", [{"id": "job_1", "on": "any"}])


def test_a_file_of_shell_commands_and_json(home: Home) -> None:
    lines = 'echo 1\n\n  \n{"command": "echo 2", "priority": 7}\r\n{"command": ["echo", "3"]}\necho 4'
    done = home.cli("enqueue", "-f", "-", "--queue", "q", input=lines)
    assert done.stdout == "".join(f"Job enqueued with ID: job_{n}\n" for n in (1, 2, 3, 4))
    jobs = home.json("list")
    assert [job["command"] for job in jobs] == ["echo 1", "echo 2", ["echo", "3"], "echo 4"]
    assert [job["priority"] for job in jobs] == [0, 7, 0, 0]
    assert {job["queue"] for job in jobs} == {"q"}


@pytest.mark.parametrize("jobs", [3, 2500])
def test_a_bad_line_is_told_by_its_number_and_nothing_is_stored(home: Home, jobs: int) -> None:
    for bad, said in BAD_LINES:
        lines = [f"echo {number}" for number in range(jobs)]
        lines[jobs - 2 : jobs - 2] = ["", bad]
        done = home.cli("enqueue", "-f", "-", input="\n".join(lines))
        assert (done.returncode, done.stdout) == (2, "")
        assert f"line {jobs}: " in done.stderr
        assert said in done.stderr
    assert home.json("list") == []


def test_a_file_larger_than_a_message_is_stored_whole(home: Home) -> None:
    file = home.path / "commands"
    file.write_text("".join(f"echo {number}\n" for number in range(5000)))
    ids = home.ok("enqueue", "-q", "-f", str(file)).split()
    assert ids == [f"job_{number}" for number in range(1, 5001)]
    counts = home.json("status")["counts"]
    assert counts["pending"] == 5000


def test_json_of_a_file_is_an_array_of_its_jobs(home: Home) -> None:
    home.ok("enqueue", "other")
    jobs = home.json("enqueue", "-f", "-", input="a\nb\n")
    assert [(job["id"], job["command"]) for job in jobs] == [("job_2", "a"), ("job_3", "b")]


def test_an_empty_file_is_no_error(home: Home) -> None:
    done = home.cli("enqueue", "-f", "-", input="\n\n")
    assert (done.returncode, done.stdout) == (0, "")


def test_wait_exits_as_the_job_does(home: Home) -> None:
    home.ok("worker", "start", "-d")
    assert home.cli("enqueue", "--wait", "exit 7", "--max-retries", "0").returncode == 7
    done = home.cli("enqueue", "--wait", "true")
    assert (done.returncode, done.stdout) == (0, "Job enqueued with ID: job_2\n")
    assert home.json("enqueue", "--wait", "true")["state"] == "completed"
    done = home.cli("enqueue", "--follow", "echo shown; exit 3", "--max-retries", "0")
    assert (done.returncode, done.stdout) == (3, "Job enqueued with ID: job_4\nshown\n")
    assert (
        home.cli("enqueue", "--wait", "-f", "-", "--max-retries", "0", input="true\nexit 4\nexit 5\n").returncode == 4
    )


def test_bytes_that_are_not_utf8_are_kept(home: Home) -> None:
    mark = home.path / "out"
    command = b"printf '%s' '\xff\xfe' > ".decode("utf-8", "surrogateescape") + str(mark)
    assert home.cli("run", command).returncode == 0
    assert mark.read_bytes() == b"\xff\xfe"
    home.ok("enqueue", "-f", "-", input=command)
    shown = home.ok("list")
    assert "\\xff\\xfe" in shown
    assert "\udcff" not in shown


def test_a_folder_that_was_removed_is_told(home: Home, tmp_path: Path) -> None:
    done = home.cli(
        "run", f"mkdir {tmp_path}/gone && cd {tmp_path}/gone && rmdir {tmp_path}/gone && queuectl enqueue true"
    )
    assert done.returncode == 2


def test_an_empty_file_is_an_empty_array(home: Home) -> None:
    assert home.ok("enqueue", "--json", "-f", "-", input="\n") == "[]\n"


def test_a_number_that_no_message_holds_is_refused_with_what_is_allowed(home: Home) -> None:
    done = home.cli("enqueue", "--max-retries", "9" * 400, "true")
    assert done.returncode == 2
    assert "from 0 to 1,000" in done.stderr
    assert home.ok("list", "--json") == "[]\n"


@pytest.mark.parametrize(
    "id, said",
    [
        ("12", "Commands take '12' for the job with this id, not for job number 12, which 12-12 names.\n"),
        ("3-9", "Commands take '3-9' for the job with this id, not for the jobs numbered 3 to 9.\n"),
        ("1", ""),
        ("a-3", ""),
    ],
)
def test_an_id_that_hides_a_number_or_a_range_is_told_of(home: Home, id: str, said: str) -> None:
    home.start_daemon()
    home.ok("worker", "start", "-d")
    assert home.cli("enqueue", "--id", id, "true").stderr == said
    assert home.cli("enqueue", "--json", "--id", f"{id}{id}", "true").stderr == ""
    assert home.json("show", id)["id"] == id


def test_a_job_whose_number_is_hidden_by_an_id_is_named_by_a_range(home: Home) -> None:
    home.ok("enqueue", "--id", "2", "true")
    home.ok("enqueue", "true")
    assert home.ok("cancel", "-q", "2-2") == "job_2\n"
    assert home.ok("cancel", "-q", "2") == "2\n"


@pytest.mark.parametrize("id", ["all", "last", "@failed", "label:a", "a:b", "batch:x"])
def test_an_id_that_could_never_be_meant_is_refused(home: Home, id: str) -> None:
    refused = home.cli("enqueue", "--id", id, "true")
    assert refused.returncode == 2
    assert "invalid id: " in refused.stderr
    assert "neither 'all' nor 'last'" in refused.stderr


def test_what_is_never_guessed_is_a_command_with_shell(home: Home) -> None:
    for words in (["-"], ["@x"], ["null"], ['"echo hi"'], ['[{"a":"b"}]']):
        assert "--shell" in home.cli("enqueue", *words).stderr
        home.ok("enqueue", "--shell", "--", *words)
    home.ok("enqueue", "[ -e f ] && echo")
    home.ok("enqueue", "--shell", "echo", "a", "&&", "echo", "b")
    assert [job["command"] for job in home.json("list")] == [
        "-", "@x", "null", '"echo hi"', '[{"a":"b"}]', "[ -e f ] && echo", "echo a && echo b",
    ]  # fmt: skip


def test_jobs_that_were_printed_are_enqueued_again_with_new_ids(home: Home) -> None:
    home.ok("enqueue", "-q", "echo a", "--id", "a", "--label", "k=v")
    home.ok("enqueue", "-q", "--", "echo", "b")
    printed = home.ok("list", "--json")
    refused = home.cli("enqueue", "-f", "-", input=printed)
    assert refused.returncode == 5
    assert "'a'" in refused.stderr
    assert refused.stderr.rstrip().endswith("nothing was stored; to give each job a new id: --new-ids")
    assert ".;" not in refused.stderr
    home.ok("enqueue", "-q", "--unique", "u", "--hold", "--queue", "other", "true")
    taken = home.cli("enqueue", "-f", "-", input='{"command":"true","unique_key":"u"}')
    assert (taken.returncode, "--new-ids" in taken.stderr) == (5, False), "a new id frees no unique key"
    home.ok("rm", "last", "-y")
    home.ok("enqueue", "-q", "-f", "-", "--new-ids", input=printed)
    home.ok("enqueue", "-q", "-f", "-", "--new-ids", input=home.ok("show", "a", "--json"))
    jobs = home.json("list")
    assert [job["command"] for job in jobs] == ["echo a", ["echo", "b"]] * 2 + ["echo a"]
    assert len({job["id"] for job in jobs}) == 5
    assert jobs[-1]["labels"] == {"k": "v"}
    home.ok("enqueue", "-q", '{"command":"true","id":"a"}', "--new-ids")


def test_a_script_is_one_job_as_it_was_when_it_was_enqueued(home: Home) -> None:
    script = home.path / "greet.sh"
    script.write_text('#!/bin/sh\necho "hi $1"\n')
    refused = home.cli("enqueue", "-f", str(script))
    assert refused.returncode == 2
    assert "--script" in refused.stderr
    home.ok("enqueue", "-q", "--script", str(script), "you")
    script.write_text("echo another\n")
    home.ok("enqueue", "-q", "--script", "-", input="#!/bin/sh\necho from stdin\n")
    home.ok("worker", "start", "-d")
    home.ok("wait")
    assert home.ok("logs", "1") == "hi you\n"
    assert home.ok("logs", "2") == "from stdin\n"
    assert home.json("show", "1")["name"] == "greet.sh"


def test_short_options_are_those_that_people_know(home: Home) -> None:
    home.ok("enqueue", "-q", "--id", "first", "true")
    options = "-n x -p 5 -l a=b -e X=1 -w /tmp -a first -Q q -r 7"
    job = home.json("enqueue", *options.split(), "make", "all")
    assert (job["name"], job["priority"], job["labels"], job["env_names"]) == ("x", 5, {"a": "b"}, ["X"])
    assert (job["cwd"], job["queue"], job["max_retries"], job["state"]) == ("/tmp", "q", 7, "blocked")
    assert home.json("enqueue", "-H", "true")["state"] == "held"
    for words in (["ls -l", "-p", "3"], ['{"command":"ls"}', "-p", "3"], ["-p", "3", "--", "ls", "-p", "4"]):
        home.ok("enqueue", *words)
        assert home.json("show", "last")["priority"] == 3


@pytest.mark.parametrize("words", [["ls", "-l"], ["grep", "-n", "x", "file"], ["true", "-p", "3"], ["sort", "-r"]])
def test_a_short_option_behind_a_bare_command_is_not_guessed(home: Home, words: list[str]) -> None:
    for verb in ("enqueue", "run"):
        refused = home.cli(verb, *words)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert f"{words[1]} behind the command" in refused.stderr
        assert f"queuectl {verb} -- COMMAND {words[1]}" in refused.stderr
