"""The mark of a run: a number that all its processes inherit, and that every process can read.

It is stored in the soft limit RLIMIT_LOCKS, which has no effect since Linux 2.4.25 (setrlimit(2)). Limits are inherited
by fork and exec, independent of session, parent, environment and user. /proc/PID/limits is readable by all users, also
for non-dumpable processes and those whose main thread has ended, unlike their environment. Setting it takes two system
calls per job (decision 16).
"""

from __future__ import annotations

import contextlib
import os
import resource

from queuectld.workerwire import procfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

RLIMIT_LOCKS: Final = 10
"""From <sys/resource.h>, the same on every architecture; missing in the `resource` module."""
LOWEST: Final = 1 << 62
"""Marks are above this value, limits set for other purposes below."""


class Marks:
    """The marks of one worker's runs. The worker itself has one only while it starts a process."""

    def __init__(self) -> None:
        self._unmarked = resource.getrlimit(RLIMIT_LOCKS)
        # Random, so that no two workers of any home use the same marks.
        self._last = LOWEST + (int.from_bytes(os.urandom(8), "little") >> 3)

    def next(self) -> int | None:
        """Return a unique mark; None if the hard limit is too low."""
        if self._unmarked[1] != resource.RLIM_INFINITY:
            return None
        self._last += 1
        return self._last

    def apply(self, mark: int | None) -> None:
        """Set the mark that processes started from now on inherit."""
        if mark is not None:
            _set_soft(mark)

    def clear(self) -> None:
        """Start further processes without a mark."""
        _set_soft(self._unmarked[0])


def _set_soft(soft: int) -> None:
    """Set the soft limit. Fails if a job has lowered the hard limit of its worker: later processes have no mark."""
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(RLIMIT_LOCKS, (soft, resource.getrlimit(RLIMIT_LOCKS)[1]))


def clear_own() -> None:
    """Remove the mark of this process if a job started it, so that it does not end with that job."""
    soft, hard = resource.getrlimit(RLIMIT_LOCKS)
    if soft >= LOWEST:
        resource.setrlimit(RLIMIT_LOCKS, (hard, hard))


def of(pid: int) -> int | None:
    """Return the mark of a process; None if it has none or is gone."""
    for line in procfs.limits(pid).splitlines():
        if line.startswith(b"Max file locks"):
            soft = line.split()[3]
            return int(soft) if soft.isdigit() and int(soft) >= LOWEST else None
    return None


def pids_with(mark: int) -> list[int]:
    """Return the pids of the processes with this mark."""
    number = b" %d " % mark
    return [pid for pid in procfs.pids() if number in procfs.limits(pid)]
