"""`queuectl list` in all its forms: filters, sorting, columns, a picture that follows what happens."""

import json
import signal
from typing import Any

import pytest

from queuectl_client.cli.invocation import Invocation
from queuectl_client.cli.output import listing, sorting
from tests.support.daemon import Home
from tests.support.terminal import Terminal, on_terminal


def ids(home: Home, *words: str) -> str:
    """The last letters of the ids of a list."""
    return "".join(line.rpartition("_")[2] for line in home.ok("list", "-q", *words).split())


@pytest.fixture
def full(home: Home) -> Home:
    """1 has ended with 3, 2 is held, 3 has ended well, 4 and 5 wait."""
    home.cli("run", "--label", "user=ada", "--name", "try", "exit 3")
    home.ok("enqueue", "--hold", "--label", "user=bob", "--priority", "5", "second")
    home.ok("run", '{"command": "echo out", "batch": "b"}')
    home.ok("enqueue", "--queue", "q", "--priority", "-5", "--delay", "1h", "--label", "user=ada", "--", "a", "b c")
    home.ok("enqueue", '{"command": "fifth", "delay": 3600, "batch": "b"}')
    return home


def test_a_filter_chooses_jobs(full: Home) -> None:
    for text, expected in {
        "state=dead and exit_code=3": "1",
        "state in (held, completed)": "23",
        "label.user=ada and not state=dead": "4",
        "queue!=default or priority>0": "24",
        "name~'t*' or command='a '\"'b c'\"": None,
        "command~'*b c*'": "4",
        "duration<1h": "13",
        "created_at>1h and batch=none": "124",
        "run_at>+30m": "45",
    }.items():
        if expected is None:
            assert full.cli("list", "--filter", text).returncode == 2, text
        else:
            assert ids(full, "--filter", text) == expected, text


def test_everything_that_chooses_holds_together(full: Home) -> None:
    assert ids(full, "--filter", "priority<=0", "--label", "user=ada", "--state", "pending", "--queue", "q") == "4"
    assert ids(full, "--batch", "b", "--filter", "not state=completed", "--since", "1h") == "5"
    assert ids(full, "--filter", "state=dead", "--state", "held") == ""
    assert ids(full, "--name", "t*", "--sort", "seq", "--limit", "1", "--filter", "not paused") == "1"


def test_what_is_wrong_with_a_filter_is_pointed_at(full: Home) -> None:
    done = full.cli("list", "--filter", "state=failed adn attempts>2")
    assert (done.returncode, done.stdout) == (2, "")
    first, text, mark = done.stderr.splitlines()
    assert "adn" in first
    assert text.index("adn") == mark.index("^")
    done = full.cli("list", "--filter", "stte=failed")
    assert done.returncode == 2
    assert "did you mean state?" in done.stderr
    assert full.cli("list", "--filter", "").returncode == 2
    assert full.cli("list", "--filter", "name='\x1b[2J' and").stderr.count("\x1b") == 0


@pytest.mark.parametrize(
    "words, said",
    [
        (["--queue", ""], "--queue"),
        (["--name", ""], "--name"),
        (["--batch", ""], "--batch"),
        (["--label", "x"], "KEY=VALUE"),
        (["--state", "faild"], "did you mean failed?"),
        (["--sort", "prioriti"], "did you mean priority?"),
        (["--sort", "labels"], "'labels'"),
        (["--columns", "id,comand"], "did you mean command?"),
        (["--columns", ","], "no column"),
        (["--limit", "0"], "--limit"),
        (["--watch", "--json"], "events --follow"),
        (["--filtr", "x"], "--filter"),
        (["--state", "running"], "did you mean processing?"),
        (["--state", "dead,faild"], "did you mean failed?"),
        (["@faild"], "did you mean failed?"),
    ],
)
def test_what_is_not_allowed_is_told(words: list[str], said: str, home: Home) -> None:
    done = home.cli("list", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_a_list_is_sorted_by_any_key(full: Home) -> None:
    assert ids(full, "--sort", "priority") == "41352"
    assert ids(full, "--sort", "-priority") == "21354"
    assert ids(full, "--sort", "priority", "--reverse") == "21354"
    assert ids(full, "--sort=-priority", "--reverse") == "41352"
    assert ids(full, "--sort", "exitCode") == "31245", "what is absent comes last"
    assert ids(full, "--sort", "-exit_code") == "13245", "either way"
    assert ids(full, "--sort", "state") == "45312", "as the states follow one another"
    assert ids(full, "--sort", "command") == "43152"
    assert ids(full, "--sort", "-created_at", "--limit", "2") == "54"
    assert ids(full, "--sort", "age", "--limit", "2") == "54"
    assert ids(full, "--reverse") == "54321"
    assert ids(full, "--reverse", "--limit", "2") == "54"
    assert ids(full, "--limit", "2") == "45"


def test_columns_are_any_keys_of_a_job_in_json_too(full: Home) -> None:
    lines = full.ok("list", "--columns", "seq,label.user,exitCode,signal,once,depends-on", "--limit", "5").splitlines()
    assert lines[0].split() == ["SEQ", "label.user", "EXIT_CODE", "SIGNAL", "ONCE", "DEPENDS_ON"]
    assert lines[1].split() == ["1", "ada", "3", "-", "-", "-"]
    jobs = full.json("list", "--columns", "id,duration,labels", "--state", "dead")
    assert [list(job) for job in jobs] == [["id", "duration", "labels"]]
    assert jobs[0]["duration"] >= 0
    (job,) = full.json("list", "--columns", "id,duration", "--state", "dead")
    assert job == {key: jobs[0][key] for key in ("id", "duration")}
    (line,) = full.ok("list", "--jsonl", "--columns", "id", "--sort", "-seq", "--limit", "1").splitlines()
    assert json.loads(line) == {"id": "job_5"}
    done = full.cli("run", "kill -9 $$", "-q")
    assert done.returncode == 137
    assert full.ok("list", "--columns", "signal", "--limit", "1").splitlines() == ["SIGNAL", "SIGKILL"]


def test_each_key_can_be_a_column_and_all_are_known(full: Home) -> None:
    from queuectl_client.protocol.attributes import COMPUTED, KINDS, SHOWN

    (job, *_) = full.json("list")
    assert list(job) == list(SHOWN)
    assert set(KINDS) - COMPUTED <= set(SHOWN)
    for key in (*SHOWN, *COMPUTED):
        assert len(full.ok("list", "--columns", key).splitlines()) == 6


def test_a_long_list_is_sorted_with_little_memory(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.ok(
        "enqueue", "-q", "-f", "-", input="".join(f'{{"command":"x","priority":{n * 7 % 11}}}\n' for n in range(900))
    )
    monkeypatch.setattr(sorting, "RUN", 100)
    monkeypatch.setattr(listing, "MOST_SORTED", 100)
    laid_down: list[int] = []
    lay_down = sorting._spill
    monkeypatch.setattr(sorting, "_spill", lambda run: laid_down.append(len(run)) or lay_down(run))
    monkeypatch.setenv("QUEUECTL_HOME", home.env["QUEUECTL_HOME"])
    invocation = Invocation()
    try:
        for down in (False, True):
            order = listing.Order("priority", descending=down)
            jobs: list[Any] = list(listing.in_order(invocation, order, {"keys": ["seq", "priority"]}))
            ranks = [(-job["priority"] if down else job["priority"], job["seq"]) for job in jobs]
            assert len(ranks) == 900
            assert ranks == sorted(ranks)
            assert [job["seq"] for job in listing.in_order(invocation, order, {}, 150)] == [
                job["seq"] for job in jobs[:150]
            ]
            # As many as the daemon picks out by itself come in the same order.
            assert [job["seq"] for job in listing.in_order(invocation, order, {}, 90)] == [
                job["seq"] for job in jobs[:90]
            ]
    finally:
        invocation.close()
    assert len(laid_down) == 9 * 4
    assert max(laid_down) == 100


def test_a_table_on_a_terminal_says_below_it_what_is_not_shown(home: Home) -> None:
    home.ok("enqueue", "-q", "-f", "-", input="true\n" * 150)
    home.ok("enqueue", "--hold", "true")
    for words, more, first in (
        ([], b"51 other jobs not shown", b"job_52 "),
        (["--sort", "seq"], b"51 other jobs not shown", b"job_1 "),
        (["--filter", "state=pending"], b"50 other jobs not shown", b"job_51 "),
        (["--state", "pending"], b"50 other jobs not shown", b"job_51 "),
    ):
        lines = on_terminal(home, "list", "--color", "never", *words).splitlines()
        assert lines[-1].startswith(more)
        assert lines[1].startswith(first)
        assert len(lines) == 102
    assert b"not shown" not in on_terminal(home, "list", "--limit", "120")
    assert on_terminal(home, "list", "--filter", "paused") == b"No jobs.\r\n"


def test_a_watched_list_is_drawn_again_when_something_happens(home: Home) -> None:
    home.ok("enqueue", "--hold", "echo first")
    terminal = Terminal(home, ["list", "--watch", "0.01"])
    terminal.wait_for(b"Held")
    home.ok("release", "job_1")
    terminal.wait_for(b"Pending")
    home.ok("enqueue", "echo second")
    terminal.wait_for(b"echo second")
    terminal.press(b"\x03")
    assert terminal.end() == 130
    assert b"Traceback" not in terminal.shown
    assert terminal.shown.count(b"\x1b[?25l") == terminal.shown.count(b"\x1b[?25h") == 1, "the cursor is back"


def test_a_watched_list_goes_on_with_the_next_daemon(home: Home) -> None:
    home.ok("enqueue", "--hold", "echo first")
    terminal = Terminal(home, ["list", "-w"])
    terminal.wait_for(b"Held")
    home.ok("daemon", "restart")
    home.ok("release", "job_1")
    terminal.wait_for(b"Pending")
    terminal.press(b"\x03")
    assert terminal.end() == 130


def test_a_watched_list_in_a_pipe_is_one_table_after_the_other(home: Home) -> None:
    home.ok("enqueue", "--hold", "true")
    watcher = home.popen("list", "--watch", "0.01", "--columns", "id,state", "--filter", "once=no")
    assert watcher.stdout is not None
    assert [watcher.stdout.readline() for _ in range(2)] == ["ID     STATE\n", "job_1  Held\n"]
    home.ok("enqueue", "--hold", "--once", "true")
    home.ok("release", "job_1")
    assert [watcher.stdout.readline() for _ in range(3)] == ["\n", "ID     STATE\n", "job_1  Pending\n"]
    watcher.send_signal(signal.SIGINT)
    assert watcher.wait(timeout=20) == 130


def test_states_are_typed_in_any_case_several_at_once_and_as_ids(home: Home) -> None:
    for job, state in (("a", []), ("b", ["--hold"]), ("c", ["--hold"]), ("d", ["--delay", "1h"])):
        home.ok("enqueue", "-q", "--id", job, *state, "true")
    home.ok("cancel", "c")
    for words, found in (
        (["--state", "Held,CANCELLED"], "bc"),
        (["--state", "held", "--state", "@cancelled"], "bc"),
        (["@HELD", "@pending"], "abd"),
        (["@held", "@cancelled", "--sort", "-id"], "cb"),
        (["b", "1"], "ba"),
        (["1-3", "--state", "held"], "b"),
        (["1-3", "--sort", "-id", "--limit", "2"], "cb"),
        (["last"], "d"),
        (["all"], "abcd"),
    ):
        assert ids(home, *words) == found, words
    refused = home.cli("list", "nosuch")
    assert (refused.returncode, refused.stdout) == (4, "")


def test_headings_are_names_of_columns(home: Home) -> None:
    home.ok("enqueue", "-q", "-l", "User=ada", "true")
    for words in ([], ["--columns", "exit_code,run_at,label.User,duration,name"]):
        headings = home.ok("list", *words).splitlines()[0].split()
        assert home.ok("list", "--columns", ",".join(headings)).splitlines()[0].split() == headings
    assert home.ok("list", "--columns", "created,exit,failures").split()[:3] == ["CREATED_AT", "EXIT_CODE", "ATTEMPTS"]
