"""The worker's event loop: descriptors, timers and signals, in one thread with one `poll`.

An idle loop makes no system calls.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from typing import Any, Final

SHORTAGES: Final = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})
"""Errors of a temporary lack of processes, memory or descriptors."""
RETRY_SECONDS: Final = 0.1
"""Delay before a callback that failed with one of SHORTAGES is called again."""


class Loop:
    """Calls back when a descriptor is ready, a timer fires, or a signal is received.

    A callback that raises an OSError of SHORTAGES is called again later, so it must be repeatable.
    """

    def __init__(self) -> None:
        self._poll = select.poll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._timers: dict[Hashable, tuple[float, Callable[[], None]]] = {}
        self._signals: dict[int, Callable[[], None]] = {}
        self._stopped = False
        self._wake, self._wake_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._wake_end, warn_on_full_buffer=False)
        self.watch(self._wake, self._signalled)

    def watch(self, fd: int, handler: Callable[[int], None], events: int = select.POLLIN) -> None:
        """Call `handler(events)` whenever `fd` is ready for `events` or has an error. Replaces an earlier handler."""
        self._timers.pop(("suspended", fd), None)
        self._handlers[fd] = handler
        self._poll.register(fd, events)

    def unwatch(self, fd: int) -> None:
        """Stop watching a descriptor. Call this before closing it."""
        if self._handlers.pop(fd, None) is not None and not self._is_suspended(fd):
            self._poll.unregister(fd)
        self._timers.pop(("suspended", fd), None)

    def at(self, key: Hashable, when: float, callback: Callable[[], None]) -> None:
        """Call back once at `when` (time.monotonic seconds). Replaces an earlier timer with this key."""
        self._timers[key] = (when, callback)

    def cancel(self, key: Hashable) -> None:
        """Cancel the timer with this key, if any."""
        self._timers.pop(key, None)

    def when(self, key: Hashable) -> float | None:
        """Return when the timer with this key fires; None if there is none."""
        timer = self._timers.get(key)
        return timer[0] if timer else None

    def on_signal(self, number: int, callback: Callable[[], None]) -> None:
        """Call back on a signal, from the loop."""
        if number not in self._signals:
            signal.signal(number, _noted)
        self._signals[number] = callback

    def off_signal(self, number: int) -> None:
        """Restore the default action of a signal."""
        if self._signals.pop(number, None) is not None:
            signal.signal(number, signal.SIG_DFL)

    def stop(self) -> None:
        """Make `run` return after the current callback."""
        self._stopped = True

    def run(self) -> None:
        """Call back until `stop`."""
        poll, handlers, timers = self._poll.poll, self._handlers, self._timers
        while not self._stopped:
            timeout = None
            if timers:
                timeout = max(0.0, (min(when for when, _ in timers.values()) - time.monotonic()) * 1000)
            try:
                ready = poll(timeout)
            except OSError:  # out of memory: retry at once, as no event reports when there is some
                continue
            for fd, events in ready:
                handler = handlers.get(fd)  # an earlier callback of this round may have unwatched it
                if handler is not None:
                    self._call_handler(fd, handler, events)
            if timers:
                self._go_off(time.monotonic())

    def _go_off(self, now: float) -> None:
        for key in [key for key, (when, _) in self._timers.items() if when <= now]:
            timer = self._timers.get(key)
            if timer is not None and timer[0] <= now:  # an earlier one may have cancelled or moved it
                del self._timers[key]
                self._call(key, timer[1])

    def _call(self, key: Hashable, callback: Callable[[], None]) -> None:
        try:
            callback()
        except OSError as error:
            if error.errno not in SHORTAGES:
                raise
            # A new timer with this key, which the callback may have set, takes precedence.
            self._timers.setdefault(key, (time.monotonic() + RETRY_SECONDS, callback))

    def _call_handler(self, fd: int, handler: Callable[[int], None], events: int) -> None:
        try:
            handler(events)
        except OSError as error:
            if error.errno not in SHORTAGES:
                raise
            when = time.monotonic() + RETRY_SECONDS
            if self._handlers.get(fd) is handler:
                self._poll.unregister(fd)  # it is still ready: do not spin
                self.at(("suspended", fd), when, lambda: self._poll.register(fd, select.POLLIN))
            else:
                self.at(("repeated", fd), when, lambda: handler(events))

    def _is_suspended(self, fd: int) -> bool:
        return ("suspended", fd) in self._timers

    def _signalled(self, _events: int) -> None:
        try:
            numbers = set(os.read(self._wake, 4096))
        except OSError:  # retried in the next iteration
            return
        for number in numbers:
            callback = self._signals.get(number)
            if callback is not None:
                self._call(("signal", number), callback)


def _noted(_number: int, _frame: Any) -> None:
    """Does nothing: the wake-up descriptor notifies the loop, but Python needs a handler."""
