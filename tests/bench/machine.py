"""What the numbers were measured on: processor, memory, disk, kernel, and how long its fsync takes."""

import os
import platform
import sqlite3
import tempfile
from pathlib import Path

from tests.bench.report import mib, ms
from tests.bench.rounds import typical

SYNCS = 50
PAGE = b"\0" * 4096


def describe() -> str:
    """One sentence about the machine."""
    return (
        f"{_processor()}, {len(os.sched_getaffinity(0))} cores, {mib(_memory())} memory, Linux {platform.release()}, "
        f"{_file_system()} ({ms(sync_seconds())} for a write of 4 KiB with fdatasync), "
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}; load {_load()} when it began"
    )


def sync_seconds() -> float:
    """The median of a small write that is on disk afterwards, where the stores are."""
    with tempfile.TemporaryFile(dir="/tmp") as file:

        def write() -> None:
            os.pwrite(file.fileno(), PAGE, 0)
            os.fdatasync(file.fileno())

        return typical(write, SYNCS)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _file_system() -> str:
    """The type of file system that /tmp is on: the mount with the longest path above it."""
    best = ("", "?")
    for line in Path("/proc/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if ("/tmp/".startswith(where.rstrip("/") + "/")) and len(where) >= len(best[0]):
            best = (where, kind)
    return best[1]


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f}"
