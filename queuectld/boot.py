"""The boot id, and the clock offset of this process's time namespace.

In a time namespace (time_namespaces(7)), CLOCK_BOOTTIME and the start times in /proc/PID/stat have an offset, so that
two readers may see different start times of a process. Start times that another process will compare are therefore
stored without the offset. This module is the lowest layer.
"""

from __future__ import annotations

import os


def boot_id() -> str:
    """Return the kernel's random id of this boot; pids and start times are only valid within it."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def shift_ns() -> int:
    """Return the offset of CLOCK_BOOTTIME for this process, in nanoseconds. Constant during its life."""
    try:
        # The file shows the namespace of the children. Before Linux 6.3, exec alone does not enter that namespace.
        if os.readlink("/proc/self/ns/time") != os.readlink("/proc/self/ns/time_for_children"):
            return 0
        with open("/proc/self/timens_offsets", "rb") as file:
            return offset_from(file.read())
    except OSError:  # a kernel without time namespaces
        return 0


def offset_from(text: bytes) -> int:
    """Return the nanoseconds of the boot clock in the text of /proc/PID/timens_offsets."""
    for line in text.splitlines():
        clock, seconds, nanoseconds = line.split()
        if clock in (b"boottime", b"7"):
            return int(seconds) * 1_000_000_000 + int(nanoseconds)
    return 0
