"""What the command line prints where: on a terminal, into a pipe, to nobody; and the daemon it finds or starts."""

import os
import re
import signal
import subprocess

import pytest

from tests.support.daemon import QUEUECTL, Home
from tests.support.eventually import eventually
from tests.support.terminal import on_terminal

COLOUR = re.compile(rb"\x1b\[[0-9;]*m")
WIDE = "echo " + "x" * 200


def lines_of(shown: bytes) -> list[str]:
    """The lines of a terminal, without colours."""
    return COLOUR.sub(b"", shown).decode().replace("\r\n", "\n").splitlines()


def test_a_table_fits_the_terminal_and_a_pipe_gets_it_whole(home: Home) -> None:
    home.ok("enqueue", WIDE, "--name", "a name")
    for columns in (80, 60):
        shown = on_terminal(home, "list", columns=columns)
        assert max(map(len, lines_of(shown))) <= columns
        assert "…" in shown.decode()
    assert WIDE in home.ok("list")
    for words in (["show", "job_1"], ["queue", "list"], ["config", "list"], ["worker", "list"], ["dlq", "list"]):
        assert max(map(len, lines_of(on_terminal(home, *words))), default=0) <= 80 or words[0] == "show"


def test_colours_go_through_a_pipe_when_they_are_asked_for(home: Home) -> None:
    home.ok("enqueue", "true")
    assert "\x1b[36mPending\x1b[0m" in home.ok("list", "--color", "always")
    assert "\x1b[36mPending\x1b[0m" in home.ok("--color", "always", "list", env={"NO_COLOR": "1"})
    assert COLOUR.sub(b"", home.ok("list", "--color", "always").encode()).decode() == home.ok("list")


@pytest.mark.parametrize("place", ["/proc/foo", "/proc/self/foo/bar", "/dev/null/x"])
def test_a_home_in_which_no_folder_can_be_made_is_told_in_a_sentence(home: Home, place: str) -> None:
    for words in (["list"], ["daemon", "start"], ["enqueue", "true"]):
        done = home.cli(*words, env={"QUEUECTL_HOME": place})
        assert done.returncode == 3
        assert done.stderr.startswith(f"Error: cannot start a daemon: {place.removesuffix('/bar')}")
        assert done.stderr.count("\n") == 1


def test_colours_are_for_terminals_alone(home: Home) -> None:
    home.ok("enqueue", "true")
    assert COLOUR.search(on_terminal(home, "list"))
    assert not COLOUR.search(on_terminal(home, "list", "--color", "never"))
    assert not COLOUR.search(on_terminal(home, "list", env={"NO_COLOR": "1"}))
    assert "\x1b" not in home.ok("list")
    assert "\x1b" not in home.ok("status", "--color", "always")


def test_a_terminal_shows_the_newest_hundred_and_how_many_more_there_are(home: Home) -> None:
    home.ok("enqueue", "-q", "-f", "-", input="true\n" * 150)
    home.ok("enqueue", "-q", "--queue", "other", "true")
    shown = lines_of(on_terminal(home, "list"))
    assert shown[0].split()[0] == "ID"
    assert [line.split()[0] for line in shown[1:-1]] == [f"job_{number}" for number in range(52, 152)]
    assert "51 other jobs not shown" in shown[-1]
    assert "50 other jobs" in lines_of(on_terminal(home, "list", "--queue", "default"))[-1]
    assert len(lines_of(on_terminal(home, "list", "--limit", "120"))) == 121


def test_names_and_commands_cannot_act_on_the_terminal(home: Home) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J\u202e"
    home.ok("enqueue", f"echo {evil}", "--name", evil, "--label", f"k={evil}")
    for words in (["list", "--columns", "id,name,labels,command"], ["show", "job_1"]):
        shown = COLOUR.sub(b"", on_terminal(home, *words, columns=300))
        assert b"\x1b" not in shown
        assert b"\\x1b]0;owned\\x07" in shown
    done = home.cli("show", evil)
    assert done.returncode == 4
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize("words", [["list"], ["list", "--json"], ["list", "-q"], ["events"]])
def test_a_reader_that_leaves_early_is_no_fault(home: Home, words: list[str]) -> None:
    home.ok("enqueue", "-q", "-f", "-", input="true\n" * 3000)
    shell = f"set -o pipefail; {QUEUECTL} {' '.join(words)} | head -c 10 > /dev/null"
    done = subprocess.run(["bash", "-c", shell], env=home.env, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert done.returncode in (0, 141), "0: there was room for all of it in the pipe"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_fault(home: Home, closed: str) -> None:
    """As some init scripts leave them."""
    home.ok("enqueue", "true")
    for words in ("status", "list", "enqueue true", "cancel last"):
        done = subprocess.run(
            ["bash", "-c", f"{QUEUECTL} {words} {closed}"], env=home.env, capture_output=True, text=True, timeout=60
        )
        assert (done.returncode, "fault" in done.stderr) == (0, False)
    assert home.states() == {"job_1": "pending", "job_2": "cancelled"}


def test_a_full_disk_under_the_output_is_told(home: Home) -> None:
    home.ok("enqueue", "true")
    for words in ("status", "list", "list --json", "--help"):
        done = subprocess.run(
            ["bash", "-c", f"{QUEUECTL} {words} > /dev/full"], env=home.env, capture_output=True, text=True, timeout=60
        )
        assert (done.returncode, done.stderr) == (1, "Error: No space left on device\n")


def test_the_daemon_is_started_where_there_is_none_and_that_is_said_once(home: Home) -> None:
    first = home.cli("status")
    assert (first.returncode, first.stderr.count("\n")) == (0, 1)
    assert home.cli("status").stderr == ""


def test_nobody_is_started_where_that_is_not_wanted(home: Home) -> None:
    for words, env in ((["--no-autostart"], {}), ([], {"QUEUECTL_NO_AUTOSTART": "1"})):
        done = home.cli("status", *words, env=env)
        assert (done.returncode, done.stdout) == (3, "")
        assert "daemon start" in done.stderr
    for words in (["daemon", "stop"], ["worker", "stop"], ["daemon", "logs"], ["completion", "bash"]):
        assert home.cli(*words).returncode == 0
    assert home.cli("daemon", "status").returncode == 3
    assert not home.socket.exists()


def test_the_life_of_the_daemon(home: Home) -> None:
    assert "running" in home.cli("daemon", "start").stderr
    before = home.json("daemon", "status")["pid"]
    assert before == home.daemon_pid()
    home.ok("daemon", "start")
    assert home.daemon_pid() == before
    assert f"pid {before}" in home.ok("daemon", "status")
    assert "serving" in home.ok("daemon", "logs", "-n", "5")
    home.ok("daemon", "restart")
    assert home.daemon_pid() != before
    home.ok("daemon", "stop")
    assert home.cli("daemon", "status").returncode == 3
    assert "No daemon is running" in home.cli("daemon", "stop").stderr


def test_a_restart_of_the_daemon_does_not_touch_a_running_job(home: Home) -> None:
    mark, gate = home.path / "mark", home.path / "gate"
    home.ok("worker", "start", "-d")
    home.ok("enqueue", f"echo s >> {mark}; while [ ! -e {gate} ]; do sleep 0.05; done; echo e >> {mark}")
    eventually(mark.exists, message="it does not run")
    home.ok("daemon", "restart")
    gate.touch()
    assert home.cli("wait", "job_1", "--exit-status").returncode == 0
    assert mark.read_text() == "s\ne\n"


def test_daemon_stop_lets_the_running_job_finish(home: Home) -> None:
    mark, gate = home.path / "mark", home.path / "gate"
    os.mkfifo(gate)
    home.ok("worker", "start", "-d")
    home.ok("enqueue", f"echo s >> {mark}; read -r line < {gate}; echo e >> {mark}")
    home.ok("enqueue", "true")
    eventually(mark.exists, message="it does not run")
    stopping = home.popen("daemon", "stop")
    eventually(lambda: home.json("worker", "list")[0]["state"] == "draining", message="it goes on")
    gate.write_text("go\n")
    assert stopping.wait(timeout=30) == 0
    assert mark.read_text() == "s\ne\n"
    assert home.states() == {"job_1": "completed", "job_2": "pending"}
    assert home.json("worker", "list") == [], "after a stop an autostart brings no detached workers back"


def test_a_stopped_daemon_is_told_of_within_its_time(home: Home) -> None:
    home.ok("daemon", "start")
    os.kill(home.daemon_pid(), signal.SIGSTOP)
    try:
        done = home.cli("status", timeout=60)
    finally:
        os.kill(home.daemon_pid(), signal.SIGCONT)
    assert done.returncode == 3
    assert "no answer" in done.stderr


def test_the_socket_option_names_another_daemon(home: Home) -> None:
    other = home.path / "other.sock"
    assert home.cli("--socket", str(other), "--no-autostart", "status").returncode == 3
    home.ok("daemon", "start")
    assert home.cli("status", "--socket", str(home.socket)).returncode == 0
    foreign = home.path / "file"
    foreign.write_text("")
    assert home.cli("status", "--socket", str(foreign)).returncode == 3
