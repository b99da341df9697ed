"""Processes of a job that are hard to see: a worker ends them with their job, and takes no other for one of them."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from queuectld.domain.outcome import Survivor
from queuectld.pool import orphans
from queuectld.pool.process import RunKey
from queuectld.workerwire import procfs, runmark, statefile
from tests.support import hidden
from tests.support.eventually import eventually
from tests.support.fakedaemon import FakeDaemon, open_gate


@pytest.fixture
def pids(daemon: FakeDaemon) -> Iterator[Path]:
    path = daemon.home / "pids"
    try:
        yield path
    finally:
        hidden.end(path)


@pytest.mark.parametrize("end", ["failure", "cancel", "timeout"])
@pytest.mark.parametrize("kind", hidden.KINDS)
def test_it_ends_with_its_job(daemon: FakeDaemon, pids: Path, kind: str, end: str) -> None:
    script = f"({hidden.command(kind, pids)} &); while ! [ -s {pids} ]; do sleep 0.05; done"
    if end == "timeout":
        daemon.run(f"{script}; exec sleep 600", timeout_ms=3000)
    else:
        daemon.run(f"{script}; {'exit 3' if end == 'failure' else 'exec sleep 600'}")
    if end == "cancel":
        eventually(lambda: hidden.living(pids))
        daemon.kill("cancelled", grace_ms=500)
    body = daemon.expect("ended")
    assert body["kind"] == {"failure": "exit", "cancel": "signal", "timeout": "timeout"}[end]
    assert pids.exists()
    assert hidden.living(pids) == []


def test_one_left_behind_is_named_though_it_looks_like_a_zombie(daemon: FakeDaemon, pids: Path) -> None:
    body = daemon.outcome(f"({hidden.command('threads', pids)} &); while ! [ -s {pids} ]; do sleep 0.05; done")
    [pid] = hidden.living(pids)
    assert body["exit_code"] == 0
    assert f"(pid {pid})" in body["left_behind"]


def test_a_child_of_what_was_left_behind_is_known_by_its_mark_without_an_environment(
    daemon: FakeDaemon, pids: Path
) -> None:
    """Its parent is gone, so it is a child of the worker when a later job fails, as that one's processes are."""
    os.mkfifo(daemon.home / "gate")
    bare = hidden.command("bare", pids)
    script = f"({bare} & read -r _ < gate) & while ! [ -s {pids} ]; do sleep 0.05; done"
    assert daemon.outcome(script, cwd=str(daemon.home))["exit_code"] == 0
    open_gate(daemon.home / "gate")
    [pid] = hidden.living(pids)

    def parent() -> int | None:
        process = procfs.look(pid)
        return process.parent if process is not None else None

    eventually(lambda: parent() == daemon.pid, message="the worker has become its parent")
    failing = f"({bare} &); while [ $(wc -l < {pids}) -lt 2 ]; do sleep 0.05; done; exit 1"
    assert daemon.outcome(failing, seq=2, cwd=str(daemon.home))["exit_code"] == 1
    assert hidden.living(pids) == [pid]


def test_each_run_has_a_mark_of_its_own_and_the_worker_none(daemon: FakeDaemon) -> None:
    show = "grep '^Max file locks' /proc/self/limits"
    shown = [daemon.output(daemon.outcome(show, seq=seq)).split()[3:5] for seq in (1, 2)]
    assert len({int(soft) for soft, _ in shown}) == 2
    assert [hard for _, hard in shown] == [b"unlimited"] * 2
    assert runmark.of(daemon.pid) is None


def test_a_process_that_a_job_started_sheds_its_mark_when_it_is_not_to_end_with_it() -> None:
    code = "from queuectld.workerwire import runmark; import os; marks = runmark.Marks(); marks.apply(marks.next());"
    code += "before = runmark.of(os.getpid()); runmark.clear_own(); print(before is not None, runmark.of(os.getpid()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True None\n"


def test_recovery_does_not_wait_for_what_it_may_not_signal_and_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleeper = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    try:
        record = {"seq": 1, "run": 1, "pid": sleeper.pid, "start_time": procfs.start_time(sleeper.pid)}
        record |= {"worker_pid": 0, "worker_start_time": 0, "boot_id": orphans.boot_id()}
        descriptor = statefile.open_for_writing(statefile.path_of(str(tmp_path), 7))
        statefile.write(descriptor, record)
        os.close(descriptor)

        def refused(pidfd: int, number: int) -> None:
            raise PermissionError

        monkeypatch.setattr(signal, "pidfd_send_signal", refused)
        left = asyncio.run(orphans.end(tmp_path, 7, RunKey(1, 1), "job", "socket", 10))
        assert [Survivor(*each).pid for each in left] == [sleeper.pid]
        monkeypatch.undo()
        assert asyncio.run(orphans.end(tmp_path, 7, RunKey(1, 1), "job", "socket", 10)) == []
    finally:
        sleeper.kill()
        sleeper.wait()


def test_who_was_found_once_is_ended_though_nothing_leads_to_it_any_more(tmp_path: Path) -> None:
    """What leads to it ends at TERM, which it ignores itself."""
    pids = tmp_path / "pids"
    stubborn = "trap '' TERM; echo $$ >> $0; while :; do sleep 1; done"
    lead = f"env -i PATH=$PATH setsid sh -c \"{stubborn.replace('$', chr(92) + '$')}\" {pids} & wait"
    leader = subprocess.Popen(["sh", "-c", lead], start_new_session=True)
    try:
        eventually(lambda: hidden.living(pids))
        record = {"seq": 1, "run": 1, "pid": leader.pid, "start_time": procfs.start_time(leader.pid)}
        record |= {"worker_pid": 0, "worker_start_time": 0, "boot_id": orphans.boot_id()}
        descriptor = statefile.open_for_writing(statefile.path_of(str(tmp_path), 7))
        statefile.write(descriptor, record)
        os.close(descriptor)
        assert asyncio.run(orphans.end(tmp_path, 7, RunKey(1, 1), "job", "socket", 300)) == []
        assert hidden.living(pids) == []
    finally:
        leader.kill()
        leader.wait()
        hidden.end(pids)
