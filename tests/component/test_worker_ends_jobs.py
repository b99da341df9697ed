"""How a job is ended: the kill ladder, time-outs, pauses, and what becomes of processes it leaves."""

import os
import signal
import time
from pathlib import Path

import pytest

from queuectld.workerwire import procfs, statefile
from tests.support.eventually import eventually
from tests.support.fakedaemon import FakeDaemon, open_gate


def alive(pid_file: Path) -> bool:
    """Whether the process that wrote its pid there lives."""
    process = procfs.look(int(pid_file.read_text()))
    return process is not None and process.is_alive


def written(*files: Path) -> None:
    eventually(lambda: all(file.exists() and file.read_text().endswith("\n") for file in files), message="pids written")


@pytest.fixture
def pids(daemon: FakeDaemon) -> tuple[Path, Path, Path]:
    return tuple(daemon.home / name for name in ("shell", "child", "setsid"))  # type: ignore[return-value]


FAMILY = """
echo $$ > shell
sh -c 'echo $$ > child; exec sleep 600' &
setsid sh -c 'echo $$ > setsid; exec sleep 600' &
"""
STUBBORN = f"trap '' TERM\n{FAMILY}"


def test_what_is_left_after_exit_0_lives_on_and_is_named(daemon: FakeDaemon, pids: tuple[Path, Path, Path]) -> None:
    body = daemon.outcome(f"{FAMILY} while ! [ -s child -a -s setsid ]; do :; done; echo done", cwd=str(daemon.home))
    _, child, setsid = pids
    assert (body["kind"], body["exit_code"]) == ("exit", 0)
    assert daemon.output(body) == b"done\n"
    for file in (child, setsid):
        # By its pid: it may not have become `sleep` yet.
        assert f"(pid {file.read_text().strip()})" in body["left_behind"]
    # The worker is free, and a later failure does not take them for its own.
    assert daemon.outcome("exit 1", seq=2)["left_behind"] is None
    assert daemon.outcome("sleep 600 & sleep 600", seq=3, timeout_ms=200)["kind"] == "timeout"
    assert alive(child)
    assert alive(setsid)


def test_what_an_earlier_job_left_survives_a_later_failure_though_its_parent_is_gone_or_its_environment(
    daemon: FakeDaemon, pids: tuple[Path, Path, Path]
) -> None:
    orphan, bare, _ = pids
    os.mkfifo(daemon.home / "gate")
    script = """
    (sh -c 'echo $$ > shell; exec sleep 600' & read -r _ < gate) &
    env -i /bin/sh -c 'echo $$ > child; exec /bin/sleep 600' &
    while ! [ -s shell -a -s child ]; do :; done
    """
    assert daemon.outcome(script, cwd=str(daemon.home))["exit_code"] == 0
    open_gate(daemon.home / "gate")

    def parent() -> int | None:
        process = procfs.look(int(orphan.read_text()))
        return process.parent if process is not None else None

    try:
        eventually(lambda: parent() == daemon.pid, message="the worker has become its parent")
        assert daemon.outcome("exit 1", seq=2)["exit_code"] == 1
        assert alive(orphan)
        assert alive(bare)
    finally:  # nobody else would find it, without an environment
        pid = int(bare.read_text())
        procfs.send_signal(pid, procfs.start_time(pid) or 0, signal.SIGKILL)


def test_a_child_left_behind_does_not_write_into_a_later_jobs_output(daemon: FakeDaemon) -> None:
    os.mkfifo(daemon.home / "gate")
    first = daemon.outcome("(read -r _ < gate; echo late; echo written > written) & echo first", cwd=str(daemon.home))
    daemon.run("while ! [ -e written ]; do :; done; echo second", cwd=str(daemon.home), seq=2)
    open_gate(daemon.home / "gate")
    assert daemon.output(daemon.expect("ended")) == b"second\n"
    assert daemon.output(first) == b"first\n"
    assert "job_1" in daemon.log.read_text()


def test_a_child_that_never_stops_writing_does_not_hold_the_worker(daemon: FakeDaemon) -> None:
    body = daemon.outcome("yes & echo first")
    assert body["exit_code"] == 0
    assert "(pid " in body["left_behind"]
    assert daemon.output(daemon.outcome("echo second", seq=2)) == b"second\n"


def test_what_was_left_behind_is_reaped_when_it_ends(daemon: FakeDaemon) -> None:
    os.mkfifo(daemon.home / "gate")
    body = daemon.outcome("(sh -c 'sh -c \"read -r _ < gate\" & exit' ) & exit 0", cwd=str(daemon.home))
    assert body["left_behind"]
    open_gate(daemon.home / "gate")
    eventually(lambda: not procfs.children(daemon.pid), message="the worker has no child left, not even a zombie")


def test_processes_that_a_long_job_orphans_are_reaped_while_it_runs(daemon: FakeDaemon) -> None:
    os.mkfifo(daemon.home / "gate")
    daemon.run("sleep 0.2; for i in 1 2 3 4 5; do (true &); done; read -r _ < gate", cwd=str(daemon.home))
    daemon.expect("running")
    eventually(lambda: len(procfs.descendants(daemon.pid)) == 1, message="the shell alone is left")
    open_gate(daemon.home / "gate")
    assert daemon.expect("ended")["exit_code"] == 0


@pytest.mark.parametrize("end", ["exit 3", "kill -KILL $$"])
def test_a_failure_ends_the_whole_tree(daemon: FakeDaemon, pids: tuple[Path, Path, Path], end: str) -> None:
    body = daemon.outcome(f"{FAMILY} while ! [ -s child -a -s setsid ]; do :; done; {end}", cwd=str(daemon.home))
    assert (body["exit_code"], body["signal"]) in ((3, None), (None, signal.SIGKILL))
    assert body["left_behind"] is None
    assert not any(alive(file) for file in pids)


def test_cancel_ends_the_whole_tree(daemon: FakeDaemon, pids: tuple[Path, Path, Path]) -> None:
    daemon.run(f"{FAMILY} wait", cwd=str(daemon.home))
    written(*pids)
    daemon.kill("cancelled")
    body = daemon.expect("ended")
    assert (body["kind"], body["signal"], body["words"]) == ("signal", signal.SIGTERM, "cancelled")
    assert not any(alive(file) for file in pids)


def test_a_timeout_ends_the_whole_tree(daemon: FakeDaemon, pids: tuple[Path, Path, Path]) -> None:
    body = daemon.outcome(f"{FAMILY} wait", cwd=str(daemon.home), timeout_ms=700)
    assert (body["kind"], body["words"]) == ("timeout", "it ran longer than 0.7 s")
    assert body["duration_ms"] >= 700
    assert not any(alive(file) for file in pids)


def test_who_ignores_term_is_killed_after_the_grace(daemon: FakeDaemon, pids: tuple[Path, Path, Path]) -> None:
    daemon.run(f"{STUBBORN} while :; do sleep 600; done", cwd=str(daemon.home))
    written(*pids)
    daemon.kill("cancelled", grace_ms=300)
    body = daemon.expect("ended")
    assert body["signal"] == signal.SIGKILL
    assert not any(alive(file) for file in pids)


def test_term_comes_first_and_the_job_may_end_in_its_own_way(daemon: FakeDaemon) -> None:
    daemon.run("trap 'echo bye; exit 5' TERM; : > ready; while :; do :; done", cwd=str(daemon.home))
    eventually((daemon.home / "ready").exists)
    daemon.kill("cancelled")
    body = daemon.expect("ended")
    assert daemon.output(body) == b"bye\n"
    assert (body["kind"], body["exit_code"]) == ("exit", 5)


def test_a_job_told_to_end_that_exits_0_is_not_a_success(daemon: FakeDaemon) -> None:
    daemon.run("trap 'exit 0' TERM; : > ready; while :; do :; done", cwd=str(daemon.home))
    eventually((daemon.home / "ready").exists)
    daemon.kill("cancelled")
    body = daemon.expect("ended")
    assert (body["kind"], body["exit_code"], body["signal"]) == ("signal", None, signal.SIGTERM)


def test_a_job_cut_short_by_the_end_of_its_worker_is_interrupted(daemon: FakeDaemon) -> None:
    daemon.run("echo started; exec sleep 600")
    daemon.expect("running")
    daemon.kill("shutdown")
    body = daemon.expect("ended")
    assert (body["kind"], body["signal"]) == ("interrupted", signal.SIGTERM)
    assert daemon.output(body) == b"started\n"


def test_a_job_that_completes_before_the_end_of_its_worker_kills_it_is_completed(daemon: FakeDaemon) -> None:
    daemon.run("trap 'exit 0' TERM; : > ready; while :; do :; done", cwd=str(daemon.home))
    eventually((daemon.home / "ready").exists)
    daemon.kill("shutdown")
    body = daemon.expect("ended")
    assert (body["kind"], body["exit_code"], body["signal"], body["words"]) == ("exit", 0, None, "")


def test_a_job_that_fails_within_the_grace_of_its_worker_is_interrupted(daemon: FakeDaemon) -> None:
    daemon.run("trap 'exit 3' TERM; : > ready; while :; do :; done", cwd=str(daemon.home))
    eventually((daemon.home / "ready").exists)
    daemon.kill("shutdown")
    body = daemon.expect("ended")
    assert (body["kind"], body["exit_code"]) == ("interrupted", 3)


def test_a_second_kill_makes_the_grace_shorter(daemon: FakeDaemon) -> None:
    daemon.run("trap '' TERM; : > ready; while :; do :; done", cwd=str(daemon.home))
    eventually((daemon.home / "ready").exists)
    daemon.kill("cancelled", grace_ms=600_000)
    daemon.kill("shutdown", grace_ms=0)
    body = daemon.expect("ended")
    assert (body["signal"], body["words"]) == (signal.SIGKILL, "cancelled")


def test_a_tree_that_keeps_forking_is_ended(daemon: FakeDaemon) -> None:
    daemon.run(": > ready; f() { while :; do setsid true & true; done; }; f & f & f", cwd=str(daemon.home))
    eventually((daemon.home / "ready").exists)
    daemon.kill("cancelled", grace_ms=100)
    daemon.expect("ended")
    eventually(lambda: not [one for one in procfs.descendants(daemon.pid) if one.is_alive])


def test_a_kill_for_a_run_that_is_over_does_nothing(daemon: FakeDaemon) -> None:
    daemon.outcome("true")
    daemon.kill("cancelled")
    daemon.run("sleep 0.1; echo two", run=2)
    daemon.kill("cancelled")
    assert daemon.output(daemon.expect("ended")) == b"two\n"


def test_a_signal_alone_reaches_every_process_and_nothing_more_happens(daemon: FakeDaemon) -> None:
    script = (
        "trap 'echo outer' USR1; sh -c 'trap \"echo inner; exit\" USR1; : > ready; while :; do :; done'; echo end"
    )
    daemon.run(script, cwd=str(daemon.home))
    eventually((daemon.home / "ready").exists)
    daemon.kill(only_signal=signal.SIGUSR1)
    body = daemon.expect("ended")
    assert sorted(daemon.output(body).splitlines()) == [b"end", b"inner", b"outer"]
    assert (body["kind"], body["exit_code"], body["words"]) == ("exit", 0, "")


@pytest.mark.parametrize("own", ["kill 0", "kill -9 0", "kill -9 -$$"])
def test_a_job_that_kills_its_group_kills_only_itself(daemon: FakeDaemon, own: str) -> None:
    body = daemon.outcome(f"{own}; sleep 600")
    assert body["signal"] in (signal.SIGTERM, signal.SIGKILL)
    assert daemon.output(daemon.outcome("echo next", seq=2)) == b"next\n"


def test_a_job_that_kills_its_worker_leaves_its_state_file_and_its_processes_to_be_found(daemon: FakeDaemon) -> None:
    daemon.run("echo $$ > shell; kill -9 $PPID; exec sleep 600", cwd=str(daemon.home), seq=7, run=3)
    assert daemon.wait_for_exit() == -signal.SIGKILL
    record = statefile.read(statefile.path_of(str(daemon.state), 12))
    assert record is not None
    assert (record["seq"], record["run"], record["job"]) == (7, 3, "job_7")
    marks = {"QUEUECTL_JOB_ID": "job_7", "QUEUECTL_RUN": "3", "QUEUECTL_SOCKET": record["socket"]}
    leader = int((daemon.home / "shell").read_text())
    assert leader in [process.pid for process in procfs.find_by_environ(marks)]


def test_a_stall_timeout_ends_a_job_that_falls_silent(daemon: FakeDaemon) -> None:
    script = "for i in 1 2 3 4 5; do echo $i; sleep 0.2; done; sleep 600"
    body = daemon.outcome(script, stall_timeout_ms=600)
    assert (body["kind"], body["words"]) == ("stalled", "no output for 0.6 s")
    assert daemon.output(body) == b"1\n2\n3\n4\n5\n"


def test_a_paused_job_stands_still_and_so_do_its_timeouts(daemon: FakeDaemon) -> None:
    os.mkfifo(daemon.home / "gate")
    script = "read -r _ < gate; echo end"
    daemon.run(script, cwd=str(daemon.home), timeout_ms=2500, stall_timeout_ms=2000)
    pid = daemon.expect("running")["pid"]
    daemon.send("pause", {"seq": 1, "run": 1})
    eventually(lambda: (process := procfs.look(pid)) is not None and process.state == "T", message="stopped")
    past_both = time.monotonic() + 3
    eventually(lambda: time.monotonic() > past_both, message="time goes by")
    assert daemon.said_nothing_else()
    daemon.send("resume", {"seq": 1, "run": 1})
    open_gate(daemon.home / "gate")
    body = daemon.expect("ended")
    assert (body["kind"], body["exit_code"]) == ("exit", 0)
    assert body["duration_ms"] >= 3000


def test_a_resumed_job_is_timed_out_by_what_was_left(daemon: FakeDaemon) -> None:
    daemon.run("sleep 600", timeout_ms=400)
    pid = daemon.expect("running")["pid"]
    daemon.send("pause", {"seq": 1, "run": 1})
    eventually(lambda: (process := procfs.look(pid)) is not None and process.state == "T", message="stopped")
    daemon.send("resume", {"seq": 1, "run": 1})
    assert daemon.expect("ended")["kind"] == "timeout"


def test_pause_stops_setsid_children_too_and_a_paused_job_can_be_cancelled(
    daemon: FakeDaemon, pids: tuple[Path, Path, Path]
) -> None:
    daemon.run(f"{FAMILY} wait", cwd=str(daemon.home))
    written(*pids)
    daemon.send("pause", {"seq": 1, "run": 1})

    def states() -> list[str]:
        found = [procfs.look(int(file.read_text())) for file in pids]
        return [process.state for process in found if process is not None]

    eventually(lambda: states() == ["T", "T", "T"], message="all three are stopped")
    daemon.kill("cancelled")
    assert daemon.expect("ended")["signal"] == signal.SIGTERM
    assert not any(alive(file) for file in pids)
