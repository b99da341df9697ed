"""Processes of a run that SIGKILL does not end: they may not be signalled, or hang in the kernel.

A job may become another user (sudo, setuid programs), or hang in the kernel (a dead network file system). The run ends
without waiting for such a process; it is reported as a survivor, and the job does not run again while it lives.
"""

from __future__ import annotations

import os
import signal

from queuectld.boot import boot_id
from queuectld.workerwire import procfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Final

STUCK_SECONDS: Final = 3.0
"""How long after the first SIGKILL a process that hangs in the kernel may still end."""


def survivors_of(processes: Sequence[procfs.Process], since_kill: float) -> list[list[Any]]:
    """Return all processes as survivors (`domain.outcome.Survivor`), or none while one may still end."""
    survivors = []
    boot = boot_id()
    for process in processes:
        denied = is_denied(process)
        if not denied and (process.state != "D" or since_kill < STUCK_SECONDS):
            return []
        name = "".join(c if c.isprintable() else "?" for c in process.comm)
        survivors.append([process.pid, process.start_time, boot, process.session, name, denied])
    return survivors


def is_denied(process: procfs.Process) -> bool:
    """Whether this user may not signal it (kill(2))."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except OSError:
        return False
    try:
        signal.pidfd_send_signal(descriptor, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


def words(survivors: Sequence[Sequence[Any]]) -> str:
    """Describe the survivors, as `domain.outcome.Survivor.words`, which a worker does not import."""
    return "; ".join(
        f"not permitted to signal pid {pid} ({name})" if denied else f"pid {pid} ({name}) does not end on KILL"
        for pid, _, _, _, name, denied in survivors
    )
