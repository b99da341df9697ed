"""The writing end of the stdin of a job with `stdin_open`, with a bounded buffer.

A send is answered once nearly all of it is written, so that a client that sends faster than the job reads has to wait.
"""

from __future__ import annotations

import os
import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from queuectld.worker.loop import Loop

ROOM_BYTES: Final = 64 * 1024
"""A send is answered when at most this much is unwritten: the capacity of a pipe."""
MOST_BYTES: Final = 1024 * 1024
"""If more than this is unwritten, a send is refused: its client did not wait for answers."""


class OpenStdin:
    """A pipe to a job. `answered(number, refused)` answers a send; `refused` is None if the job has it."""

    def __init__(self, loop: Loop, first: bytes, answered: Callable[[int, str | None], None]) -> None:
        self._loop = loop
        self._answered = answered
        self._unwritten = bytearray(first)
        self._waiting: list[int] = []
        self._reading: int | None = None
        self._writing: int | None = None
        self._eof = False
        """Whether the pipe is closed once everything is written."""
        self._refused: str | None = None

    def open(self) -> int:
        """Return the reading end for the job's process; the same one until `started`. Raises OSError."""
        if self._reading is None:
            self._reading, self._writing = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(self._writing, False)
        return self._reading

    def started(self) -> None:
        """Start writing: the process has its end."""
        if self._reading is not None:
            os.close(self._reading)
            self._reading = None
        self._write()

    def take(self, number: int, data: bytes, eof: bool) -> None:
        """Buffer data, and close the pipe after it if `eof`."""
        if self._refused is None and self._eof:
            self._answered(number, "closed")
        elif self._refused is not None or len(self._unwritten) > MOST_BYTES:
            self._answered(number, self._refused or "full")
        else:
            self._unwritten += data
            self._eof = eof
            self._waiting.append(number)
            self._write()

    def close(self, why: str = "ended") -> None:
        """Close the pipe; refuse pending and later sends."""
        self._refused = why
        self._unwritten.clear()
        if self._reading is not None:
            os.close(self._reading)
            self._reading = None
        self._close_pipe()
        self._answer(why)

    def _write(self, _events: int = 0) -> None:
        if self._writing is None or self._reading is not None:
            return  # the process is not started yet, or has closed its stdin
        try:
            while self._unwritten:
                del self._unwritten[: os.write(self._writing, self._unwritten[:ROOM_BYTES])]
        except BlockingIOError:
            self._loop.watch(self._writing, self._write, select.POLLOUT)
        except OSError:  # EPIPE, or an error after which data may be lost
            self.close("closed")
        else:
            self._loop.unwatch(self._writing)
            if self._eof:
                self._close_pipe()
        if len(self._unwritten) <= ROOM_BYTES:
            self._answer(None)

    def _answer(self, refused: str | None) -> None:
        waiting, self._waiting = self._waiting, []
        for number in waiting:
            self._answered(number, refused)

    def _close_pipe(self) -> None:
        if self._writing is not None:
            self._loop.unwatch(self._writing)
            os.close(self._writing)
            self._writing = None
