"""Control groups: where they are delegated, no job's process escapes; elsewhere all is as the pages say.

Each test runs on every machine. Where no group can be made, it proves what holds without one.
"""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from queuectld.workerwire import procfs
from tests.crash.cgroups import Scratch, printed, scratch
from tests.crash.marks import Marked
from tests.crash.stage import DEADLINE_S, Stage
from tests.support.eventually import eventually

KILL = signal.SIGKILL
LOOK = "for p in $(cat {pids}); do grep -q '^State:.[^ZX]' /proc/$p/status 2>/dev/null && echo $p >> {alive}; done"
MOST_FORKS = 5000
HYDRA = """
import os, pathlib, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.setsid()
os.closerange(0, 3)
for number in range({most}):
    if os.fork():
        os._exit(0)
pathlib.Path({end!r}).touch()
"""

OUTRUN = """
import subprocess
from queuectld.workerwire import cgroup, procfs
from queuectld.worker import process_tree
group = cgroup.enter(7)
mine = process_tree.ProcessTree(group)
jobs = [subprocess.Popen(["sleep", "1000"], start_new_session=True) for _ in range(2)]
mine.adopt(jobs[0].pid, "job", 1, None)
if group is not None:
    procfs.SWEEPS = 0
mine.kill()
print(*(job.wait(20) for job in jobs), cgroup.own() == (group.path if group is not None else cgroup.own()))
"""


@pytest.fixture
def group(stage: Stage, tmp_path: Path) -> Iterator[Scratch | None]:
    """A delegated group that the stage's daemon is started in; None where we may not make one."""
    with scratch(tmp_path, delegated=True) as made:
        if made is not None:
            stage.restarter.python = made.python
        yield made
        stage.home.stop()


class Escape:
    """A process that has left its session, its parents and its environment, and does not hear TERM."""

    def __init__(self, folder: Path) -> None:
        self.pids, self.alive, script = folder / "pids", folder / "alive", folder / "escape"
        self.pids.touch()
        script.write_text(f"trap '' TERM\necho $$ >> {self.pids}\nexec sleep 1000\n")
        self.command = f"env -i setsid sh -c 'sh {script} > /dev/null 2>&1 &'"
        self.look = LOOK.format(pids=self.pids, alive=self.alive)

    def pid(self) -> int:
        """The first that escaped, as soon as it has."""
        return int(eventually(lambda: self.pids.read_text().split(), deadline=DEADLINE_S)[0])

    def has_ended(self) -> bool:
        """Whether none of them can do anything any more."""
        found = [procfs.look(int(pid)) for pid in self.pids.read_text().split()]
        return not any(process is not None and process.is_alive for process in found)

    def end(self) -> None:
        """End them by force."""
        for pid in self.pids.read_text().split():
            started = procfs.start_time(int(pid))
            if started is not None:
                procfs.send_signal(int(pid), started, KILL)


@pytest.fixture
def escape(tmp_path: Path) -> Iterator[Escape]:
    made = Escape(tmp_path)
    try:
        yield made
    finally:
        made.end()


def told(stage: Stage, group: Scratch | None) -> bool:
    """Whether the daemon has said what there is."""
    words = f"each worker gets a control group in {group.path}" if group else "no delegated control group"
    return words in stage.home.daemon_log()


def with_escape(job: Marked, escape: Escape) -> Marked:
    """The same job, which lets something escape before it does anything else."""
    return job._replace(command=f"{escape.look}; {escape.command}; {job.command}")


@pytest.mark.parametrize("prey", ["worker", "daemon, worker", "worker, daemon"])
def test_what_escaped_from_a_killed_workers_job_is_ended_before_its_second_run(
    stage: Stage, group: Scratch | None, escape: Escape, prey: str
) -> None:
    """By its group, or by its mark where there is none."""
    with stage.restarter:
        stage.scale(1)
        assert told(stage, group)
        job = with_escape(stage.gated(), escape)
        stage.enqueue(job)
        escape.pid()
        eventually(lambda: stage.marks.text(job.id), deadline=DEADLINE_S)
        worker, daemon = stage.worker_of(job.id), stage.restarter.daemon()
        for name in prey.split(", "):
            os.kill(worker if name == "worker" else daemon.pid, KILL)
        eventually(lambda: stage.marks.text(job.id).count("s") == 2, deadline=DEADLINE_S)
        stage.open_gate()
        stage.finish(workers=1)
        assert not escape.alive.exists(), "it lived when the second run began"
        crashes = stage.job(job.id)["crashes"]
        if group is not None:
            assert group.groups() == {f"queuectl-{one['id']}-{one['pid']}" for one in stage.workers()}
    assert crashes == 1


def test_where_nothing_is_delegated_the_ladder_ends_what_escaped(stage: Stage, escape: Escape, tmp_path: Path) -> None:
    with scratch(tmp_path, delegated=False) as plain:
        if plain is not None:
            stage.restarter.python = plain.python
        with stage.restarter:
            assert told(stage, None)
            stage.scale(1)
            job = with_escape(stage.gated(), escape)
            stage.enqueue(job)
            escape.pid()
            eventually(lambda: stage.marks.text(job.id), deadline=DEADLINE_S)
            stage.ask("job.cancel", ids=[job.id])
            eventually(escape.has_ended, deadline=DEADLINE_S)
            assert plain is None or plain.groups() == set()
        stage.home.stop()


def test_a_job_that_forks_faster_than_it_is_signalled_ends_all_the_same(
    stage: Stage, group: Scratch | None, tmp_path: Path
) -> None:
    """It ends by itself in the end, which only a group does not wait for. The worker, in the same group, lives."""
    end, script = tmp_path / "end", tmp_path / "hydra"
    script.write_text(HYDRA.format(most=MOST_FORKS, end=str(end)))
    with stage.restarter:
        [worker] = stage.scale(1)
        command = f"{stage.restarter.python} {script}; sleep 1000"
        stage.ask("enqueue", id="hydra", command=command, timeout=0.5, kill_grace=0.1, max_retries=1)
        assert stage.ask("job.wait", ids=["hydra"], timeout=DEADLINE_S)["done"]
        assert stage.job("hydra")["reason"].startswith("timeout")
        assert group is None or not end.exists()
        stage.enqueue(stage.marks.job("after"))
        stage.finish(workers=1)
        assert [one["pid"] for one in stage.workers()] == [worker["pid"]]


def test_a_group_is_killed_at_once_where_every_sweep_was_outrun(stage: Stage, group: Scratch | None) -> None:
    """And the worker is back in it afterwards. Without a group there are the sweeps alone."""
    assert printed(stage.restarter.python, OUTRUN) == "-9 -9 True\n"


def test_what_a_job_left_behind_after_exit_0_outlives_the_end_of_later_ones(
    stage: Stage, group: Scratch | None, escape: Escape
) -> None:
    with stage.restarter:
        stage.scale(1)
        command = f"{escape.command}; while ! [ -s {escape.pids} ]; do :; done"
        stage.ask("enqueue", id="leaves", command=command)
        assert stage.ask("job.wait", ids=["leaves"], timeout=DEADLINE_S)["done"]
        assert f"(pid {escape.pid()})" in stage.job("leaves")["attempts_list"][0]["left_behind"]
        stage.ask("enqueue", id="fails", command="sleep 1000 & exit 3", kill_grace=0.1, max_retries=1)
        assert stage.ask("job.wait", ids=["fails"], timeout=DEADLINE_S)["done"]
        job = stage.run_gated()
        os.kill(stage.worker_of(job.id), KILL)
        eventually(lambda: stage.marks.text(job.id).count("s") == 2, deadline=DEADLINE_S)
        stage.open_gate()
        stage.finish(workers=1)
        assert not escape.has_ended()


@pytest.mark.parametrize("how", ["drained", "killed", "drained without a daemon"])
def test_a_group_goes_with_its_worker(stage: Stage, group: Scratch | None, how: str) -> None:
    with stage.restarter:
        workers = stage.scale(2)
        started = {one["pid"]: procfs.start_time(one["pid"]) or 0 for one in workers}
        if group is not None:
            assert group.groups() == {f"queuectl-{one['id']}-{one['pid']}" for one in workers}
        if how == "killed":
            for one in workers:
                os.kill(one["pid"], KILL)
            eventually(lambda: not {one["pid"] for one in stage.workers()} & {one["pid"] for one in workers})
        elif how != "drained":
            stage.restarter.end(stay_down=True)
            for one in workers:
                os.kill(one["pid"], signal.SIGTERM)
            eventually(lambda: not any(procfs.is_alive(one["pid"], started[one["pid"]]) for one in workers))
            assert group is None or group.groups() == set()
            stage.restarter.start()
        stage.scale(0)
        eventually(lambda: stage.workers() == [], deadline=DEADLINE_S)
        assert group is None or group.groups() == set()
        assert not list(stage.home.state.glob("worker-*"))


def test_a_daemon_that_a_job_has_started_does_not_end_with_it(group: Scratch | None) -> None:
    """It goes out of the group of the job's worker, into the one that was delegated."""
    code = "from queuectld.workerwire import cgroup\n{}\nprint(cgroup.own(), cgroup.delegated())"
    if group is None:
        left = printed(sys.executable, code.format("cgroup.leave_worker_group()"))
        assert left == printed(sys.executable, code.format(""))
        return
    inside = printed(group.python, code.format("cgroup.enter(7)"))
    assert inside.startswith(f"{group.path}/queuectl-w7-")
    assert inside.endswith(" None\n")
    code = code.format("cgroup.enter(7); cgroup.leave_worker_group()")
    assert printed(group.python, code) == f"{group.path} {group.path}\n"
