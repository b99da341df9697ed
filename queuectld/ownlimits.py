"""Resets resource limits inherited from the client that started the daemon, so that they do not affect other jobs.

A daemon started by a client uses the kernel's defaults (INIT_RLIMITS), as far as permitted; jobs inherit them. One
started by a service manager or by hand keeps its limits, since they are intended. Limits that a plain user cannot
raise, hard limits and niceness, are reported.
"""

import contextlib
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

UNLIMITED: Final = resource.RLIM_INFINITY
STACK_BYTES: Final = 8 * 1024 * 1024
"""Not unlimited, as it is also the stack size of threads."""
JOB_FILES: Final = 1024
"""Open files of a job. Not more, since some programs use select(2) or close all possible descriptors."""
_WITHOUT_END: Final = (
    resource.RLIMIT_CPU,
    resource.RLIMIT_FSIZE,
    resource.RLIMIT_DATA,
    resource.RLIMIT_AS,
    resource.RLIMIT_RSS,
)
"""Limits that are unlimited by default, both soft and hard."""
_SOFT: Final = {
    resource.RLIMIT_NPROC: UNLIMITED,
    resource.RLIMIT_MEMLOCK: UNLIMITED,
    resource.RLIMIT_SIGPENDING: UNLIMITED,
    resource.RLIMIT_MSGQUEUE: UNLIMITED,
    resource.RLIMIT_STACK: STACK_BYTES,
    resource.RLIMIT_NOFILE: JOB_FILES,
    resource.RLIMIT_CORE: 0,
}
"""Other soft limits, as far as the hard limits permit."""
_TOLD: Final = (
    (resource.RLIMIT_CPU, "CPU time", " s"),
    (resource.RLIMIT_FSIZE, "the size of a file", " bytes"),
    (resource.RLIMIT_AS, "address space", " bytes"),
    (resource.RLIMIT_DATA, "data", " bytes"),
)
"""Hard limits that are rarely set by default and that a daemon soon exceeds."""
_MOST_CPUS: Final = 4096


def reset_inherited() -> None:
    """Reset inherited limits, priorities, CPU affinity and signals, as far as permitted."""
    for which in _WITHOUT_END:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(which, (resource.getrlimit(which)[1],) * 2)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(which, (UNLIMITED, UNLIMITED))  # as root
    for which, wanted in _SOFT.items():
        hard = resource.getrlimit(which)[1]
        soft = wanted if hard == UNLIMITED else hard if wanted == UNLIMITED else min(wanted, hard)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(which, (soft, hard))
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, 0)
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    with contextlib.suppress(OSError):
        os.sched_setaffinity(0, range(_MOST_CPUS))  # the kernel ignores CPUs that are missing or not permitted
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("0")
    for number in signal.valid_signals():
        if signal.getsignal(number) is signal.SIG_IGN and number not in (signal.SIGPIPE, signal.SIGXFSZ):  # Python's
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def binding(pid: int) -> Iterator[str]:
    """Describe the remaining limits of a process (0: this one)."""
    for which, name, unit in _TOLD:
        hard = resource.prlimit(pid, which)[1]
        if hard != UNLIMITED:
            yield f"{name}: {hard:,}{unit} at most"
    nice = os.getpriority(os.PRIO_PROCESS, pid)
    if nice > 0:
        yield f"a niceness of {nice}"

