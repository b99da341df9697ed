"""The timeout and the stall timeout of a run; both are suspended while it is paused.

Measured on the monotonic clock, which is not affected by steps of the wall clock or by suspend.
"""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from queuectld.worker.loop import Loop


class Deadlines:
    """The timeouts of the current run."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._timeout = 0.0
        self._stall = 0.0
        self._on_expiry: Callable[[str, str], None] = _no_run
        self._last_output = 0.0
        self._paused_at = 0.0
        self._left: dict[str, float] = {}

    def begin(
        self, now: float, timeout_ms: int | None, stall_timeout_ms: int | None, on_expiry: Callable[[str, str], None]
    ) -> None:
        """Start the timeouts of a run at `now` (time.monotonic). `on_expiry(kind, words)` is called at most once."""
        self._timeout = (timeout_ms or 0) / 1000
        self._stall = (stall_timeout_ms or 0) / 1000
        self._on_expiry = on_expiry
        self._last_output = now
        if self._timeout:
            self._loop.at("timeout", now + self._timeout, self._timed_out)
        if self._stall:
            self._loop.at("stall", now + self._stall, self._maybe_stalled)

    def output_came(self, now: float) -> None:
        """Record output at `now`. The timer is not moved; it checks this when it fires."""
        self._last_output = now

    def pause(self) -> None:
        """Suspend the timeouts."""
        self._paused_at = time.monotonic()
        self._left = {key: when for key in ("timeout", "stall") if (when := self._loop.when(key)) is not None}
        self._cancel()

    def resume(self) -> None:
        """Resume the timeouts, extended by the length of the pause."""
        pause = time.monotonic() - self._paused_at
        self._last_output += pause
        for key, when in self._left.items():
            self._loop.at(key, when + pause, self._timed_out if key == "timeout" else self._maybe_stalled)

    def clear(self) -> None:
        """Cancel the timeouts and drop the reference to the run."""
        self._cancel()
        self._on_expiry = _no_run

    def _cancel(self) -> None:
        self._loop.cancel("timeout")
        self._loop.cancel("stall")

    def _timed_out(self) -> None:
        self._on_expiry("timeout", f"it ran longer than {self._timeout:g} s")

    def _maybe_stalled(self) -> None:
        due = self._last_output + self._stall
        if due > time.monotonic():
            self._loop.at("stall", due, self._maybe_stalled)
        else:
            self._on_expiry("stalled", f"no output for {self._stall:g} s")


def _no_run(_kind: str, _words: str) -> None:
    """Placeholder while there is no run."""
