"""The process tree of the running job, as distinct from processes that earlier jobs left behind.

The worker is a child subreaper: every orphaned descendant of a job becomes its child, even after `setsid` or a double
fork. Processes left behind after exit 0 live on and do not belong to the next job. If the worker has a control group,
the group contains exactly the processes of the job, since leftover ones are moved out.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal

from queuectld.workerwire import procfs, runmark

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from queuectld.workerwire.cgroup import WorkerGroup

_PR_SET_CHILD_SUBREAPER: Final = 36


def become_subreaper() -> None:
    """Make orphaned descendants children of this process (prctl(2)). Raises OSError."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


class ProcessTree:
    """The worker's descendants. One job at a time; its leader is not reaped before `forget_leader`.

    Methods raise OSError on a lack of descriptors or memory, and can then be called again.
    """

    def __init__(self, group: WorkerGroup | None = None) -> None:
        self._group = group
        self._me = os.getpid()
        self._left: set[tuple[int, int]] = set()
        self._leader = 0
        self._named: tuple[bytes, bytes] = (b"", b"")
        self._mark: int | None = None
        self._children_file: int | None = None
        with contextlib.suppress(OSError):  # a kernel without it: /proc is searched instead
            self._children_file = os.open(f"/proc/self/task/{self._me}/children", os.O_RDONLY | os.O_CLOEXEC)

    def adopt(self, leader: int, job_id: str, run: int, mark: int | None) -> None:
        """Start tracking a job, whose processes have `mark`."""
        self._leader = leader
        self._named = (job_id.encode(), b"%d" % run)
        self._mark = mark

    def children(self) -> list[int]:
        """Return the worker's children, including zombies, with one system call."""
        if self._children_file is None:
            return procfs.children(self._me)
        return [int(pid) for pid in os.pread(self._children_file, 1 << 20, 0).split()]

    def members(self) -> list[procfs.Process]:
        """Return the living processes of the job except its leader, parents first."""
        found = []
        for pid in self.children():
            process = procfs.look(pid)
            if process is None or (pid != self._leader and not self._is_ours(process)):
                continue
            if pid != self._leader:
                found.append(process)
            found.extend(procfs.descendants(pid))
        return self._with_group([process for process in found if process.is_alive])

    def living(self) -> list[procfs.Process]:
        """Return the living processes of the job, including its leader."""
        leader = procfs.look(self._leader)
        return [*([leader] if leader is not None and leader.is_alive else ()), *self.members()]

    def is_alone(self) -> bool:
        """Whether the leader is the worker's only child."""
        return self.children() == [self._leader]

    def signal(self, number: int) -> None:
        """Signal every process of the job: first its process group, then those outside, until there are no new ones."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._leader, number)  # the leader is not reaped: the group id cannot be a stranger's
        procfs.signal_all(lambda: [one for one in self.members() if one.group != self._leader], number)

    def kill(self) -> None:
        """Kill every process of the job."""
        if self._group is not None:
            self._group.kill_others()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._leader, signal.SIGKILL)
        procfs.signal_all(self.members, signal.SIGKILL)

    def reap(self) -> None:
        """Reap every ended child except the leader."""
        for pid in self.children():
            if pid != self._leader:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)

    def forget_leader(self, *, has_ended: bool) -> list[procfs.Process]:
        """Stop tracking the job. Returns its living processes, now without a job.

        Call this before its leader is reaped. The leader is one of them unless it `has_ended`.
        """
        ended = [self._leader] if has_ended else []
        if self.children() == ended:
            self._left.clear()
            self._leader = 0
            return []
        self.reap()
        pids = [pid for pid in self.children() if pid not in ended]
        left = [process for pid in pids if (process := procfs.look(pid)) is not None]
        fresh = [process for process in left if self._is_ours(process)]
        living = [one for top in fresh for one in (top, *procfs.descendants(top.pid)) if one.is_alive]
        if self._group is not None:
            living = self._with_group(living)
            self._group.move_others_out()
        self._left = {process.identity for process in left}
        self._leader = 0
        return living

    def disown(self, child: int) -> None:
        """Exclude a child of the worker from all jobs."""
        process = procfs.look(child)
        if process is not None:
            self._left.add(process.identity)
        if self._group is not None:
            self._group.move_others_out()

    @property
    def group_path(self) -> str | None:
        """The control group that contains exactly the job and this worker, if any."""
        return self._group.path if self._group is not None and self._group.is_pure else None

    @property
    def has_left_some(self) -> bool:
        """Whether processes of earlier jobs are still alive."""
        return bool(self._left)

    def _is_ours(self, process: procfs.Process) -> bool:
        """Whether a child of the worker belongs to the job rather than to an earlier one.

        An orphan of a leftover process is unknown at first: its control group, mark or environment decides.
        """
        if process.identity in self._left:
            return False
        if not self._left:
            return True
        in_group = self._group is not None and self._group.is_pure and process.pid in self._group.pids()
        if in_group:
            return True
        born = runmark.of(process.pid)
        if born is not None and self._mark is not None:
            return born == self._mark
        entries = procfs.environ(process.pid)
        job, run = entries.get(b"QUEUECTL_JOB_ID"), entries.get(b"QUEUECTL_RUN")
        if job is None or run is None:
            # It belongs to the job, unless it is outside the control group.
            return self._group is None or not self._group.is_pure
        return self._named == (job, run)

    def _with_group(self, found: list[procfs.Process]) -> list[procfs.Process]:
        """Add the other members of the control group except the leader."""
        if self._group is None:
            return found
        known = {process.identity for process in found}
        others = self._group.processes()
        return found + [one for one in others if one.pid != self._leader and one.identity not in known]
