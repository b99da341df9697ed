"""`queuectl logs` and `follow`: the output of a job, whole, in part, as it comes, and on a terminal."""

import os
import signal
import subprocess

from tests.support.daemon import Home
from tests.support.terminal import on_terminal


def finished(process: "subprocess.Popen[str]") -> str:
    """The rest of what a `queuectl` prints that ends well."""
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    return out


def test_the_whole_output_and_its_last_lines(home: Home) -> None:
    home.cli("run", "seq 20000")
    everything = "".join(f"{number}\n" for number in range(1, 20001))
    assert home.ok("logs", "job_1") == everything
    assert home.ok("log", "last", "-n", "3") == "19998\n19999\n20000\n"
    assert home.ok("logs", "1", "-n", "15000") == everything[everything.index("5001\n") :]
    assert home.ok("logs", "1", "-n", "0") == ""
    assert home.ok("logs", "1", "-n", "99999") == everything
    home.cli("run", "printf 'a\\nb\\nc'")
    assert home.ok("logs", "last", "-n", "2") == "b\nc"


def test_output_larger_than_memory_is_given_goes_through_files(home: Home) -> None:
    home.cli("run", "head -c 3000000 /dev/zero | tr '\\0' x; echo; echo end", timeout=60)
    assert home.ok("logs", "1") == "x" * 3_000_000 + "\nend\n"
    assert home.ok("logs", "1", "-n", "1") == "end\n"
    assert len(home.ok("logs", "1", "-n", "2")) == 3_000_005


def test_each_attempt_has_its_own_output(home: Home) -> None:
    home.cli("run", "--max-retries", "2", "--backoff-base", "1", "echo $QUEUECTL_ATTEMPT; exit 1")
    assert home.ok("logs", "1") == "2\n"
    assert home.ok("logs", "1", "--attempt", "1") == "1\n"
    assert home.cli("logs", "1", "--attempt", "3").returncode == 4
    assert home.cli("logs", "nope").returncode == 4


def test_follow_waits_for_the_start_and_ends_with_the_job(home: Home) -> None:
    home.ok("enqueue", "--max-retries", "2", "--backoff-base", "1", "echo try $QUEUECTL_ATTEMPT; exit 1")
    followers = [home.popen("logs", "-f", "job_1"), home.popen("follow", "job_1")]
    home.ok("worker", "start", "-d")
    for follower in followers:
        assert finished(follower) == "try 1\ntry 2\n"


def test_follow_shows_output_as_it_comes(home: Home) -> None:
    gate = home.path / "gate"
    home.ok("worker", "start", "-d")
    home.ok("enqueue", f"echo first; while [ ! -e {gate} ]; do sleep 0.05; done; echo second")
    follower = home.popen("follow", "last")
    assert follower.stdout is not None
    assert follower.stdout.readline() == "first\n"
    gate.touch()
    assert finished(follower) == "second\n"


def test_follow_goes_on_across_a_restart_of_the_daemon(home: Home) -> None:
    gate = home.path / "gate"
    home.ok("worker", "start", "-d")
    home.ok("enqueue", f"echo first; while [ ! -e {gate} ]; do sleep 0.05; done; echo second")
    follower = home.popen("follow", "last")
    assert follower.stdout is not None
    assert follower.stdout.readline() == "first\n"
    os.kill(home.daemon_pid(), signal.SIGKILL)
    home.ok("daemon", "start")
    gate.touch()
    assert finished(follower) == "second\n"


def test_follow_of_a_job_that_is_cancelled_while_it_waits_ends(home: Home) -> None:
    home.ok("enqueue", "true")
    follower = home.popen("follow", "job_1")
    home.ok("cancel", "job_1")
    assert finished(follower) == ""


def test_follow_of_a_job_that_is_cancelled_before_its_next_attempt_ends(home: Home) -> None:
    home.ok("worker", "start", "-d")
    home.ok("enqueue", "--backoff-base", "1000", "echo once; exit 1")
    follower = home.popen("follow", "job_1")
    assert follower.stderr is not None
    assert "runs again" in follower.stderr.readline()
    home.ok("cancel", "job_1")
    assert finished(follower) == "once\n"


def test_logs_of_a_job_that_has_not_begun(home: Home) -> None:
    home.ok("enqueue", "true")
    done = home.cli("logs", "job_1")
    assert (done.returncode, done.stdout) == (0, "")
    assert "has not started" in done.stderr


def test_streams_that_were_kept_apart(home: Home) -> None:
    home.ok("worker", "start", "-d")
    home.ok("enqueue", "--split-output", "--wait", "echo out; echo err >&2")
    assert home.ok("logs", "1", "--stdout") == "out\n"
    assert home.ok("logs", "1", "--stderr") == "err\n"
    assert (home.cli("logs", "1").stdout, home.cli("logs", "1").stderr) == ("out\n", "err\n")
    done = home.cli("run", "--split-output", "seq 100000; seq 100000 >&2; exit 3")
    everything = "".join(f"{number}\n" for number in range(1, 100_001))
    assert (done.returncode, done.stdout, done.stderr) == (3, everything, everything)
    assert home.cli("logs", "last", "-n", "1").stderr == "100000\n"
    home.ok("enqueue", "--wait", "echo both")
    assert home.cli("logs", "3", "--stdout").returncode == 5


def test_a_terminal_gets_text_and_colours_and_nothing_that_moves_it(home: Home) -> None:
    home.cli("run", "printf 'a\\033[31mred\\033[0m\\033]0;title\\007\\033[2Jb\\n'")
    assert on_terminal(home, "logs", "1") == b"a\x1b[31mred\x1b[0mb\r\n\x1b[0m"
    assert on_terminal(home, "logs", "1", "--color", "never") == b"aredb\r\n"
    assert on_terminal(home, "logs", "1", "--raw") == b"a\x1b[31mred\x1b[0m\x1b]0;title\x07\x1b[2Jb\r\n"
    assert home.ok("logs", "1") == "a\x1b[31mred\x1b[0m\x1b]0;title\x07\x1b[2Jb\n"


def test_a_reader_that_goes_away_is_no_fault(home: Home) -> None:
    home.cli("run", "head -c 3000000 /dev/zero | tr '\\0' x", timeout=60)
    reader = home.popen("logs", "1")
    assert reader.stdout is not None
    assert reader.stdout.read(10) == "x" * 10
    reader.stdout.close()
    assert reader.wait(timeout=20) == 141
    assert reader.stderr is not None
    assert reader.stderr.read() == ""


def test_follow_is_ended_by_ctrl_c(home: Home) -> None:
    home.ok("worker", "start", "-d")
    home.ok("enqueue", "echo begun; exec sleep 60")
    follower = home.popen("follow", "job_1")
    assert follower.stdout is not None
    assert follower.stdout.readline() == "begun\n"
    follower.send_signal(signal.SIGINT)
    assert follower.wait(timeout=20) == 130
