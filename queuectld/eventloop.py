"""The daemon's event loop: asyncio's, with wake-ups and signals that cannot be lost.

asyncio wakes its loop by sending a byte through a socket pair and ignores errors of this send (ENOBUFS, ENOMEM), so
that answers of the store's thread could wait for another event. Writing to an eventfd(2) needs no memory.
Likewise asyncio loses a signal if its byte cannot be written.
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
    """An event loop that `call_soon_threadsafe` and signals always wake."""

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
        """Call back on a signal, as in asyncio. The byte written by the signal only wakes the loop."""
        # Block the signal until asyncio's handler, which does nothing, is replaced.
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
        # Overrides asyncio, which calls back for each byte.
        pass

    def _write_to_self(self) -> None:
        # Overrides asyncio. EAGAIN means that the loop is already being woken.
        try:
            os.eventfd_write(self._waker, 1)
        except BlockingIOError:
            pass
        except OSError:  # retry once, as the loop must wake; a second error is raised
            os.eventfd_write(self._waker, 1)

    def _woken(self) -> None:
        # On an error it stays readable, and the loop calls this again.
        with contextlib.suppress(OSError):
            os.eventfd_read(self._waker)
