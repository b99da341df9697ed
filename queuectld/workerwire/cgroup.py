"""Control groups: each worker has one of its own, and a job's processes cannot leave it by any fork, exec or setsid.

Only below a group that was delegated to us, as systemd does for `Delegate=yes` (its interface: CGROUP_DELEGATION.md);
see cgroups(7) and the kernel's admin-guide/cgroup-v2.rst for the files used here. A worker lives in its group, so that
jobs are born in it: moving each job's process there would cost some 10 ms, since the kernel waits for every CPU to
notice, and would miss what was forked before. This module knows groups and pids, not which job they belong to; the
worker imports it, so it needs nothing but `os`.
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
"""Extended attributes that systemd sets to `1`; an ordinary user can read the first only."""


class WorkerGroup:
    """The group that this process, a worker, lives in. Jobs that ended with 0 leave it; so nobody else is in it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._parent = os.path.dirname(path)
        self.is_pure = True
        """Whether all others in it belong to the job in hand. False for good once that could not be brought about."""

    def pids(self) -> set[int]:
        """Who else is in it, and in groups that a job made below it."""
        return set(pids(self.path)) - {os.getpid()}

    def processes(self) -> list[procfs.Process]:
        """The same, as far as they live; nobody where the group is not pure."""
        return _living(self.pids()) if self.is_pure else []

    def expel(self) -> None:
        """Everybody else lives on outside: they belong to no job any more."""
        for _ in range(procfs.SWEEPS):  # they may fork meanwhile, and a fork is born inside
            others = self.pids()
            if not others:
                return
            for pid in others:
                with contextlib.suppress(ProcessLookupError):
                    if not self._move(pid, self._parent):
                        return
        self.is_pure = not self.pids()

    def kill_others(self) -> None:
        """KILL to all others at once, which no fork outruns. Does nothing where the kernel or the group is not fit."""
        if self.is_pure and self._move(0, self._parent):
            kill(self.path)
            self._move(0, self.path)

    def leave(self) -> None:
        """Go out of it for good, and remove it."""
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
    """Make this process live in a group of its own below the one it is in; None where that is not delegated to us.

    The pid in its name keeps apart the workers of two homes that share a delegated group.
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
    """The folder of the group this process is in, where that was delegated to us; else None."""
    path = own()
    if path is None or not os.access(os.path.join(path, "cgroup.procs"), os.W_OK):
        return None
    return path if any(_mark(path, name) == b"1" for name in DELEGATED_MARKS) else None


def leave_worker_group() -> None:
    """Leave the group of a worker, if this process was started by its job: it must not end with that job."""
    path = own()
    if path is not None and os.path.basename(path).startswith(PREFIX):
        with contextlib.suppress(OSError):
            _write(os.path.dirname(path), "cgroup.procs", b"0")


def processes(path: str) -> list[procfs.Process]:
    """The living processes of a group but this one; none where there is no such group."""
    return _living(set(pids(path)) - {os.getpid()})


def kill(path: str) -> None:
    """KILL to all of a group at once, but never to this process. A kernel before 5.14 has no such switch."""
    if os.getpid() not in pids(path):
        with contextlib.suppress(OSError):
            _write(path, "cgroup.kill", b"1")


def remove(path: str) -> bool:
    """Remove a group with those that jobs made below it. False: somebody lives in it."""
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
    """Who is in a group or below it; nobody where there is no such group."""
    try:
        with open(os.path.join(path, "cgroup.procs"), "rb") as file:
            found = [int(line) for line in file]
        for below in _below(path):
            found += pids(below)
    except OSError:  # it was removed under our eyes, or is of a kind that has no processes of its own
        return []
    return found


def own() -> str | None:
    """The folder of the version 2 group this process is in, where one is mounted."""
    try:
        return path_from(_text("/proc/self/cgroup"), _text("/proc/self/mountinfo"))
    except OSError:
        return None


def path_from(cgroup: str, mountinfo: str) -> str | None:
    """The folder that `/proc/self/cgroup` and `/proc/self/mountinfo` name (cgroups(7), proc(5)); None for none."""
    path = next((line[3:] for line in cgroup.splitlines() if line.startswith("0::/")), None)
    if path is None or ".." in path.split("/"):
        return None  # of another namespace: not to be named here
    for line in mountinfo.splitlines():
        fields = line.split(" ")
        if "-" not in fields or fields[fields.index("-") + 1] != "cgroup2":
            continue
        root, point = _unescaped(fields[3]).rstrip("/"), _unescaped(fields[4])
        if path == root or path.startswith(f"{root}/"):
            return (point + path[len(root) :]).rstrip("/")
    return None


def _unescaped(field: str) -> str:
    """Blanks and backslashes are written as `\\` and three octal digits."""
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
    # O_WRONLY alone: a write must reach the kernel as one, and must never make a file where there is no group.
    descriptor = os.open(os.path.join(group, name), os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, value)
    finally:
        os.close(descriptor)
