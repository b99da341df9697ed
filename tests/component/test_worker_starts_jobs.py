"""What a job gets from its worker, and what it does not."""

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.support.fakedaemon import FakeDaemon
from tests.support.programs import needs


def status_of(output: bytes) -> dict[str, str]:
    return dict(line.split(":\t", 1) for line in output.decode().splitlines() if ":\t" in line)


def test_a_command_runs_in_the_shell_and_its_exit_code_comes_back(daemon: FakeDaemon) -> None:
    body = daemon.outcome("echo $((40 + 2)); exit 7")
    assert (body["kind"], body["exit_code"], body["signal"]) == ("exit", 7, None)
    assert daemon.output(body) == b"42\n"
    assert body["worker"] == 12
    assert 0 < body["started_ms"] <= body["finished_ms"]


def test_an_argv_runs_without_a_shell(daemon: FakeDaemon) -> None:
    body = daemon.outcome(["printf", "%s|", "$HOME", "a b", "*", "\udcff"])
    assert daemon.output(body) == b"$HOME|a b|*|\xff|"


def test_a_signal_that_ends_the_leader_is_told(daemon: FakeDaemon) -> None:
    body = daemon.outcome("kill -SEGV $$")
    assert (body["kind"], body["exit_code"], body["signal"]) == ("signal", None, signal.SIGSEGV)


def test_resource_use_is_measured(daemon: FakeDaemon) -> None:
    body = daemon.outcome([sys.executable, "-c", "x = bytearray(64 << 20)\nfor i in range(10**6): pass"])
    assert body["user_us"] + body["system_us"] > 1000
    assert body["max_rss_kib"] > 64 * 1024
    assert body["duration_ms"] > 0


def test_stdin_is_at_its_end_at_once(daemon: FakeDaemon) -> None:
    assert daemon.output(daemon.outcome("cat; echo over")) == b"over\n"


@pytest.mark.parametrize("length", [0, 5, 3 << 20])
def test_stdin_that_was_given_is_read_to_its_end(daemon: FakeDaemon, length: int) -> None:
    body = daemon.outcome("wc -c", stdin="x" * length)
    assert int(daemon.output(body)) == length


def test_a_job_gets_descriptors_0_1_and_2_alone(idle_daemon: FakeDaemon) -> None:
    leaked = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(leaked, True)
    try:
        idle_daemon.start_worker(pass_fds=[leaked])
    finally:
        os.close(leaked)
    body = idle_daemon.outcome([sys.executable, "-c", "import os; print(sorted(os.listdir('/proc/self/fd'))[:-1])"])
    assert idle_daemon.output(body) == b"['0', '1', '2']\n"
    body = idle_daemon.outcome([sys.executable, "-c", "import os; print(os.listdir('/proc/self/fd'))"], stdin="given")
    assert idle_daemon.output(body) == b"['0', '1', '2', '3']\n"  # 3 is the listing's own


def test_signals_have_their_default_effect_and_none_is_blocked(idle_daemon: FakeDaemon) -> None:
    def spoil() -> None:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})

    idle_daemon.start_worker(preexec_fn=spoil)
    status = status_of(idle_daemon.output(idle_daemon.outcome(["cat", "/proc/self/status"])))
    # Signals 32 and 33 are the C library's own; its posix_spawn leaves them ignored, and no program can use them.
    masks = {key: int(status[key], 16) & ~(1 << 31 | 1 << 32) for key in ("SigIgn", "SigBlk", "SigCgt")}
    assert masks == {"SigIgn": 0, "SigBlk": 0, "SigCgt": 0}


def test_a_job_has_a_session_of_its_own(daemon: FakeDaemon) -> None:
    body = daemon.outcome([sys.executable, "-c", "import os; print(os.getsid(0) == os.getpid() == os.getpgrp())"])
    assert daemon.output(body) == b"True\n"


def test_a_job_gets_the_folder_umask_and_environment_of_its_submitter(daemon: FakeDaemon, tmp_path: Path) -> None:
    body = daemon.outcome(
        "pwd; umask; env",
        cwd=str(tmp_path),
        umask=0o027,
        environment={"PATH": os.environ["PATH"], "A": "submitted", "B": "submitted", "BYTES": "\udcff"},
        env={"B": "laid over", "C": "added"},
        attempt=3,
        run=4,
        queue="night",
    )
    lines = daemon.output(body).splitlines()
    assert lines[:2] == [os.fsencode(tmp_path), b"0027"]
    seen = dict(line.split(b"=", 1) for line in lines[2:])
    assert seen[b"A"] == b"submitted"
    assert seen[b"B"] == b"laid over"
    assert seen[b"C"] == b"added"
    assert seen[b"BYTES"] == b"\xff"
    assert b"FROM" not in seen  # the daemon's
    assert b"QUEUECTL_HOME" not in seen
    mine = {key: value for key, value in seen.items() if key.startswith(b"QUEUECTL_")}
    assert mine == {
        b"QUEUECTL_JOB_ID": b"job_1",
        b"QUEUECTL_ATTEMPT": b"3",
        b"QUEUECTL_RUN": b"4",
        b"QUEUECTL_QUEUE": b"night",
        b"QUEUECTL_WORKER": b"w12",
        b"QUEUECTL_SOCKET": os.fsencode(daemon.home / "queuectl.sock"),
    }


def test_the_worker_itself_stays_out_of_the_jobs_folder(daemon: FakeDaemon, tmp_path: Path) -> None:
    daemon.outcome("true", cwd=str(tmp_path))
    assert os.readlink(f"/proc/{daemon.pid}/cwd") == "/"


def test_an_environment_is_sent_once_and_the_least_recent_of_sixteen_again(daemon: FakeDaemon) -> None:
    for number in [*range(17), 16, 5, 0, 1]:
        body = daemon.outcome("echo $WHICH", environment_id=number, environment={"WHICH": str(number)})
        assert daemon.output(body) == b"%d\n" % number


def test_a_job_has_the_descriptor_limit_it_was_promised(daemon: FakeDaemon) -> None:
    assert daemon.output(daemon.outcome("ulimit -Sn")) == b"1024\n"


def test_the_oom_killer_takes_a_job_before_its_worker(daemon: FakeDaemon) -> None:
    score = Path(f"/proc/{daemon.pid}/oom_score_adj")
    before = int(score.read_text())
    body = daemon.outcome("cat /proc/self/oom_score_adj")
    assert int(daemon.output(body)) == min(1000, before + 200)
    assert int(score.read_text()) == before


@pytest.mark.parametrize(
    "command, job, exit_code, words",
    [
        ("true", {"cwd": "/nowhere/at/all"}, None, "/nowhere/at/all"),
        (["no-such-program-at-all"], {}, 127, "not found"),
        (["/etc/passwd"], {}, 126, "Permission denied"),
        (["./gone"], {"cwd": "/tmp"}, 127, "No such file"),
        (["true", "x" * 200_000], {}, None, "too long"),
        ("true", {"shell": ["/no/shell", "-c"]}, None, "/no/shell"),
    ],
    ids=["folder", "program", "permission", "path", "length", "shell"],
)
def test_what_cannot_start_says_why_and_the_next_job_runs(
    daemon: FakeDaemon, command: str | list[str], job: dict[str, object], exit_code: int | None, words: str
) -> None:
    body = daemon.outcome(command, **job)
    assert (body["kind"], body["exit_code"], body["signal"]) == ("cannot-start", exit_code, None)
    assert words in body["words"]
    assert daemon.output(daemon.outcome("echo next", seq=2)) == b"next\n"


def test_a_command_the_shell_does_not_find_exits_127(daemon: FakeDaemon) -> None:
    body = daemon.outcome("no-such-program-at-all")
    assert (body["kind"], body["exit_code"]) == ("exit", 127)


def test_a_script_without_its_first_line_goes_to_the_shell(daemon: FakeDaemon, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("echo script $1\n")
    script.chmod(0o755)
    assert daemon.output(daemon.outcome(["./script", "one"], cwd=str(tmp_path))) == b"script one\n"
    assert daemon.output(daemon.outcome(["script", "two"], env={"PATH": str(tmp_path)})) == b"script two\n"


@needs("strace")
def test_processes_used_up_for_a_moment_do_not_fail_the_job(idle_daemon: FakeDaemon, tmp_path: Path) -> None:
    # The first three clone3 calls of the worker fail with EAGAIN, as at the limit of a user's processes.
    inject = "inject=clone3,clone,vfork:error=EAGAIN:when=1..3"
    idle_daemon.start_worker(prefix=("strace", "-o", str(tmp_path / "trace"), "-e", inject))
    body = idle_daemon.outcome("echo at last")
    assert idle_daemon.output(body) == b"at last\n"
    assert (tmp_path / "trace").read_text().count("INJECTED") == 3
