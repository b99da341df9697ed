"""The clock: the only module that reads the time.

Within a boot, store time advances with CLOCK_BOOTTIME, so that neither a step of the wall clock nor a suspend changes a
backoff or a delay. Across boots it advances by the difference of the wall clock, if positive; likewise when the boot
clock went back within a boot, as on a machine restored from a snapshot.
"""

import time
from collections.abc import Callable

from queuectld.boot import boot_id, shift_ns
from queuectld.domain.job import Now
from queuectld.store.records import TimeAnchor


def boottime_ms() -> int:
    """Milliseconds since boot, suspends included (CLOCK_BOOTTIME), as this process is shown them."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


def wall_ms() -> int:
    """Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


class Clock:
    """Reads wall and store time. `store_ms = CLOCK_BOOTTIME + offset`, with a constant offset within a boot.

    An anchor holds the unshifted boot time, since the next daemon may run in another time namespace.
    """

    def __init__(
        self,
        anchor: TimeAnchor | None,
        *,
        boot: str | None = None,
        boottime: Callable[[], int] = boottime_ms,
        wall: Callable[[], int] = wall_ms,
        shift_ms: int | None = None,
    ) -> None:
        self.boot_id = boot if boot is not None else boot_id()
        self._boottime = boottime
        self._wall = wall
        self._shift_ms = shift_ms if shift_ms is not None else shift_ns() // 1_000_000
        store_ms = wall() if anchor is None else anchor.store_ms + self._passed_since(anchor)
        self.offset_ms = store_ms - boottime()
        """Store time minus CLOCK_BOOTTIME."""

    def now(self) -> Now:
        """One reading of both times."""
        return Now(self._wall(), self._boottime() + self.offset_ms)

    def anchor(self) -> TimeAnchor:
        """Return what the next daemon needs to continue store time."""
        boottime = self._boottime()
        return TimeAnchor(self.boot_id, boottime - self._shift_ms, self._wall(), boottime + self.offset_ms)

    def _passed_since(self, anchor: TimeAnchor) -> int:
        passed = self._boottime() - self._shift_ms - anchor.boottime_ms
        if anchor.boot_id == self.boot_id and passed >= 0:
            return passed
        return max(0, self._wall() - anchor.wall_ms)
