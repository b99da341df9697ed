"""The daemon's event loop: asyncio's, but that no other thread's call to it is ever left lying.

asyncio wakes its loop by a byte through a socket pair, and passes over an error of that send (ENOBUFS, ENOMEM): what
the store's thread had answered then waited until something else woke the daemon. An eventfd(2) needs no memory.
Likewise a signal was lost if its byte could not be written.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import TypeVarTuple

Ts = TypeVarTuple("Ts")


class EventLoop(asyncio.SelectorEventLoop):
    """`call_soon_threadsafe` always wakes it."""

    def __init__(self) -> None:
        super().__init__()
        self._waker = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.add_reader(self._waker, self._woken)

    def close(self) -> None:
        """Called by asyncio."""
        if not self.is_closed():
            self.remove_reader(self._waker)
            os.close(self._waker)
        super().close()

    def add_signal_handler(self, sig: int, callback: Callable[[*Ts], object], *args: *Ts) -> None:
        """Call back on a signal, like asyncio's; but the byte that a signal writes only wakes the loop."""
        # Blocked until asyncio's handler, which does nothing, is replaced.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {sig})
        try:
            super().add_signal_handler(sig, callback, *args)
            signal.set_wakeup_fd(signal.set_wakeup_fd(-1), warn_on_full_buffer=False)
            signal.signal(sig, partial(self._signalled, partial(callback, *args)))
            signal.siginterrupt(sig, False)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def _signalled(self, callback: Callable[[], object], _number: int, _frame: FrameType | None) -> None:
        self.call_soon_threadsafe(callback)

    def _process_self_data(self, data: bytes) -> None:
        # Overrides asyncio's own, which calls back for each byte.
        pass

    def _write_to_self(self) -> None:
        # Overrides asyncio's own. Full (EAGAIN) means that it is about to wake.
        try:
            os.eventfd_write(self._waker, 1)
        except BlockingIOError:
            pass
        except OSError:  # whatever it was, the loop has to wake: once more, and then it is a fault
            os.eventfd_write(self._waker, 1)

    def _woken(self) -> None:
        # Whatever the error was, it is as readable as before, and the loop comes here again.
        with contextlib.suppress(OSError):
            os.eventfd_read(self._waker)
