"""Control groups: one per worker. A job's processes cannot leave it by fork, exec or setsid.

Requires a group delegated to this user, as systemd does with `Delegate=yes` (CGROUP_DELEGATION.md). For the files used
here see cgroups(7) and the kernel's admin-guide/cgroup-v2.rst. The worker is in the group itself, so its jobs start
there: moving each job's process would take about 10 ms, because the kernel waits for every CPU, and would miss
processes forked earlier. This module handles groups and pids, not jobs. The worker imports it, so it only needs `os`.
"""

from __future__ import annotations

import contextlib
import os

from queuectld.workerwire import procfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

PREFIX: Final = "queuectl-w"
DELEGATED_MARKS: Final = ("user.delegate", "trusted.delegate")
"""Extended attributes that systemd sets to `1`. Unprivileged users can read only the first."""


class WorkerGroup:
    """The control group of this worker. Processes left by jobs that exited with 0 are moved out of it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._parent = os.path.dirname(path)
        self.is_pure = True
        """Whether all other processes in it belong to the current job. Stays false after a failure to ensure this."""

    def pids(self) -> set[int]:
        """Return the pids of the other processes in the group and in groups that a job created below it."""
        return set(pids(self.path)) - {os.getpid()}

    def processes(self) -> list[procfs.Process]:
        """Return the other living processes; an empty list if the group is not pure."""
        return _living(self.pids()) if self.is_pure else []

    def move_others_out(self) -> None:
        """Move all other processes to the parent group: they no longer belong to a job."""
        for _ in range(procfs.SWEEPS):  # a process that forks meanwhile adds one
            others = self.pids()
            if not others:
                return
            for pid in others:
                with contextlib.suppress(ProcessLookupError):
                    if not self._move(pid, self._parent):
                        return
        self.is_pure = not self.pids()

    def kill_others(self) -> None:
        """Kill all other processes atomically, even while they fork. Does nothing if the kernel cannot."""
        if self.is_pure and self._move(0, self._parent):
            kill(self.path)
            self._move(0, self.path)

    def leave(self) -> None:
        """Move this process to the parent group and remove the group."""
        if self._move(0, self._parent):
            remove(self.path)

    def _move(self, pid: int, group: str) -> bool:
        try:
            _write(group, "cgroup.procs", b"%d" % pid)
        except ProcessLookupError:
            raise
        except OSError:
            self.is_pure = False
            return False
        return True


def enter(worker: int) -> WorkerGroup | None:
    """Move this process to a new group below its current one. Return None if that is not delegated to this user.

    The name contains the pid, so that workers of two homes can share a delegated group.
    """
    above = delegated()
    if above is None:
        return None
    path = os.path.join(above, f"{PREFIX}{worker}-{os.getpid()}")
    try:
        os.mkdir(path)
        _write(path, "cgroup.procs", b"0")
    except OSError:
        remove(path)
        return None
    return WorkerGroup(path)


def delegated() -> str | None:
    """Return the folder of this process's group if it is delegated to this user, else None."""
    path = own()
    if path is None or not os.access(os.path.join(path, "cgroup.procs"), os.W_OK):
        return None
    return path if any(_mark(path, name) == b"1" for name in DELEGATED_MARKS) else None


def leave_worker_group() -> None:
    """Leave the group of a worker if a job started this process, so that it does not end with that job."""
    path = own()
    if path is not None and os.path.basename(path).startswith(PREFIX):
        with contextlib.suppress(OSError):
            _write(os.path.dirname(path), "cgroup.procs", b"0")


def processes(path: str) -> list[procfs.Process]:
    """Return the living processes of a group except this one; an empty list if there is no such group."""
    return _living(set(pids(path)) - {os.getpid()})


def kill(path: str) -> None:
    """Kill all processes of a group atomically, unless this process is in it. Does nothing before Linux 5.14."""
    if os.getpid() not in pids(path):
        with contextlib.suppress(OSError):
            _write(path, "cgroup.kill", b"1")


def remove(path: str) -> bool:
    """Remove a group and the groups below it. Return False if it still contains processes."""
    try:
        for below in _below(path):
            remove(below)
        os.rmdir(path)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def pids(path: str) -> list[int]:
    """Return the pids in a group and the groups below it; an empty list if there is no such group."""
    try:
        with open(os.path.join(path, "cgroup.procs"), "rb") as file:
            found = [int(line) for line in file]
        for below in _below(path):
            found += pids(below)
    except OSError:  # the group was removed meanwhile, or is a threaded one
        return []
    return found


def own() -> str | None:
    """Return the folder of this process's version 2 group; None if none is mounted."""
    try:
        return path_from(_text("/proc/self/cgroup"), _text("/proc/self/mountinfo"))
    except OSError:
        return None


def path_from(cgroup: str, mountinfo: str) -> str | None:
    """Return the folder of the group from the text of `/proc/self/cgroup` and `/proc/self/mountinfo`, or None.

    The formats are described in cgroups(7) and proc(5).
    """
    path = next((line[3:] for line in cgroup.splitlines() if line.startswith("0::/")), None)
    if path is None or ".." in path.split("/"):
        return None  # outside this cgroup namespace: it has no path here
    for line in mountinfo.splitlines():
        fields = line.split(" ")
        if "-" not in fields or fields[fields.index("-") + 1] != "cgroup2":
            continue
        root, point = _unescaped(fields[3]).rstrip("/"), _unescaped(fields[4])
        if path == root or path.startswith(f"{root}/"):
            return (point + path[len(root) :]).rstrip("/")
    return None


def _unescaped(field: str) -> str:
    """Decode `\\` with three octal digits, which stands for blanks and backslashes."""
    first, *rest = field.split("\\")
    return first + "".join(chr(int(part[:3], 8)) + part[3:] for part in rest)


def _text(path: str) -> str:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


def _mark(path: str, name: str) -> bytes:
    try:
        return os.getxattr(path, name)
    except OSError:
        return b""


def _below(path: str) -> list[str]:
    with os.scandir(path) as entries:
        return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]


def _living(found: set[int]) -> list[procfs.Process]:
    return [process for pid in found if (process := procfs.look(pid)) is not None and process.is_alive]


def _write(group: str, name: str, value: bytes) -> None:
    # One unbuffered write, as the kernel parses each one. No O_CREAT: the group may have been removed.
    descriptor = os.open(os.path.join(group, name), os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, value)
    finally:
        os.close(descriptor)
