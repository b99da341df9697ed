"""Finding and ending the processes of one home: daemons, workers and jobs that a test has started.

A process belongs to a home when its environment names it. A home's path is made by `mkdtemp`, so nobody
else's process can name it by chance; nothing is ever found by its program's name.
"""

import os
import signal
from pathlib import Path

from tests.support.eventually import eventually


def processes_of(home: Path) -> list[int]:
    """Process ids whose environment at their start named this home, a socket or a HOME in it. Zombies do not count."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdecimal() and int(entry) != os.getpid() and _belongs_to(entry, home):
            found.append(int(entry))
    return found


def end_all(home: Path) -> None:
    """End every process of this home with SIGKILL; returns when none is left."""

    def none_left() -> bool:
        pids = processes_of(home)
        for pid in pids:
            kill_by_pidfd(pid, home)
        return not pids

    eventually(none_left, deadline=20, message=f"processes of {home} live on: {processes_of(home)}")


def kill_by_pidfd(pid: int, home: Path) -> None:
    """SIGKILL to this process, if it still is one of this home's and its id has not been used again."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        # Looked at again behind the pidfd: from here on the id cannot pass to a stranger unnoticed.
        if _belongs_to(str(pid), home):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    except ProcessLookupError:
        pass  # it ended between the look and the signal
    finally:
        os.close(descriptor)


def _belongs_to(pid: str, home: Path) -> bool:
    try:
        environment = Path("/proc", pid, "environ").read_bytes()
    except OSError:
        return False  # gone, or another user's
    path = os.fsencode(home)
    below = (b"QUEUECTL_SOCKET=" + path + b"/", b"QUEUECTL_HOME=" + path + b"/", b"HOME=" + path + b"/")
    return any(
        variable == b"QUEUECTL_HOME=" + path or variable.startswith(below) for variable in environment.split(b"\0")
    )
