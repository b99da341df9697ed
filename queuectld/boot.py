"""This boot of the machine: its name, and how far its clock is shown shifted to this process.

In a time namespace (time_namespaces(7)) CLOCK_BOOTTIME, and with it the start times in /proc/PID/stat, are shown with
an offset: the same process has another start time for another reader. What is written down to be compared later, by
another process, is therefore what the machine's own clock says: what is shown, less the shift. This module is below
all others.
"""

from __future__ import annotations

import os


def boot_id() -> str:
    """The kernel's name of this boot: no pid and no boot time of another one means anything."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def shift_ns() -> int:
    """How far CLOCK_BOOTTIME is ahead of the machine's own for this process. Constant as long as it lives."""
    try:
        # Offsets are those of the children's namespace. Before Linux 6.3, exec alone does not take a process there.
        if os.readlink("/proc/self/ns/time") != os.readlink("/proc/self/ns/time_for_children"):
            return 0
        with open("/proc/self/timens_offsets", "rb") as file:
            return offset_from(file.read())
    except OSError:  # a kernel without time namespaces
        return 0


def offset_from(text: bytes) -> int:
    """The nanoseconds that /proc/PID/timens_offsets names for the boot clock."""
    for line in text.splitlines():
        clock, seconds, nanoseconds = line.split()
        if clock in (b"boottime", b"7"):
            return int(seconds) * 1_000_000_000 + int(nanoseconds)
    return 0
