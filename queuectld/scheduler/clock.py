"""The clock: the one place where time is read.

Store time goes on with CLOCK_BOOTTIME within a boot, so that a step of the wall clock or a suspend changes no
backoff and no delay. Across boots it goes on by the wall clock's difference, where that is forward.
"""

import time
from collections.abc import Callable
from pathlib import Path

from queuectld.domain.job import Now
from queuectld.store.records import Anchor

BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """The kernel's name of this boot: no pid of another boot means anything."""
    return BOOT_ID_FILE.read_text().strip()


def boottime_ms() -> int:
    """Milliseconds since boot, suspends included (CLOCK_BOOTTIME)."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


def wall_ms() -> int:
    """Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


class Clock:
    """Readings of wall and store time. `store_ms = CLOCK_BOOTTIME + offset`, and the offset holds for a boot."""

    def __init__(
        self,
        anchor: Anchor | None,
        *,
        boot: str | None = None,
        boottime: Callable[[], int] = boottime_ms,
        wall: Callable[[], int] = wall_ms,
    ) -> None:
        self.boot_id = boot if boot is not None else boot_id()
        self._boottime = boottime
        self._wall = wall
        if anchor is None:
            store_ms = wall()
        elif anchor.boot_id == self.boot_id:
            store_ms = anchor.store_ms + boottime() - anchor.boottime_ms
        else:
            store_ms = anchor.store_ms + max(0, wall() - anchor.wall_ms)
        self.offset_ms = store_ms - boottime()
        """Store time minus CLOCK_BOOTTIME."""

    def now(self) -> Now:
        """One reading of both times."""
        return Now(self._wall(), self._boottime() + self.offset_ms)

    def anchor(self) -> Anchor:
        """What the next daemon needs to go on with store time."""
        boottime = self._boottime()
        return Anchor(self.boot_id, boottime, self._wall(), boottime + self.offset_ms)
