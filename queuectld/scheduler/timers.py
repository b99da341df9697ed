"""The alarm that wakes the dispatcher when a waiting job becomes due, and at no other time.

Linux timerfds (timerfd_create(2)): CLOCK_BOOTTIME fires right after a suspend that slept past the moment, and
CLOCK_REALTIME with TFD_TIMER_CANCEL_ON_SET wakes when the wall clock is set, so that `run_at` follows the new time.
"""

import asyncio
import contextlib
import ctypes
import errno
import os
import time
from collections.abc import Callable
from typing import Final

TFD_NONBLOCK: Final = os.O_NONBLOCK
TFD_CLOEXEC: Final = os.O_CLOEXEC
TFD_TIMER_ABSTIME: Final = 1
TFD_TIMER_CANCEL_ON_SET: Final = 2


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


_libc = ctypes.CDLL(None, use_errno=True)


class _TimerFd:
    """One absolute timer on one clock, watched by the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: int, flags: int, fire: Callable[[], None]) -> None:
        self._flags = flags
        self._fire = fire
        self._loop = loop
        self._recalled: asyncio.Handle | None = None
        self._fd = _libc.timerfd_create(clock, TFD_NONBLOCK | TFD_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        loop.add_reader(self._fd, self._readable)

    def set(self, at_ms: int | None) -> None:
        """Fire at `at_ms` of the clock, at once if that is past; None disarms the timer."""
        value = _Timespec(0, 0)
        if at_ms is not None:
            at_ms = max(at_ms, 1)
            value = _Timespec(at_ms // 1000, at_ms % 1000 * 1_000_000)
        spec = _Itimerspec(_Timespec(0, 0), value)
        if _libc.timerfd_settime(self._fd, self._flags, ctypes.byref(spec), None) != 0:
            code = ctypes.get_errno()
            if code != errno.ECANCELED:
                raise OSError(code, os.strerror(code))
            # The clock was set since the last call; a later read does not report that again.
            self._recalled = self._loop.call_soon(self._fire)

    def close(self) -> None:
        if self._recalled is not None:
            self._recalled.cancel()
        self._loop.remove_reader(self._fd)
        os.close(self._fd)

    def _readable(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return
        except OSError as error:
            # ECANCELED: the wall clock was set, so the expiry has to be computed again.
            if error.errno != errno.ECANCELED:
                raise
        self._fire()


class Alarm:
    """Calls `fire` when store or wall time reaches its expiry, and when the wall clock is set."""

    def __init__(self, loop: asyncio.AbstractEventLoop, store_offset_ms: int, fire: Callable[[], None]) -> None:
        self._offset_ms = store_offset_ms
        self._fire = fire
        self._store = _TimerFd(loop, time.CLOCK_BOOTTIME, TFD_TIMER_ABSTIME, self._fired)
        self._wall = _TimerFd(loop, time.CLOCK_REALTIME, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, self._fired)
        self._set: tuple[int | None, int | None] = (None, None)

    def set(self, store_ms: int | None, wall_ms: int | None) -> None:
        """Fire at `store_ms` of store time and at `wall_ms` of Unix time; None disarms either."""
        if (store_ms, wall_ms) == self._set:
            return
        self._set = (store_ms, wall_ms)
        self._store.set(None if store_ms is None else store_ms - self._offset_ms)
        self._wall.set(wall_ms)

    def close(self) -> None:
        """Close both timers."""
        with contextlib.suppress(OSError):
            self._store.close()
            self._wall.close()

    def _fired(self) -> None:
        self._set = (None, None)  # so that the same expiry can be set again

        self._fire()
