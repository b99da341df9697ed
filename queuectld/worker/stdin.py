"""The writing end of a job's stdin, where it was started with that open: what was sent to it and is not written yet.

It knows no frames. What was sent is answered once it is written, or nearly: a client that sends faster than the job
reads waits, and memory stays small.
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
"""What was sent is taken once no more than this still waits to be written: as much as the pipe itself holds."""
MOST_BYTES: Final = 1024 * 1024
"""Where more than this waits, the next is refused: it came from somebody who did not wait for an answer."""


class OpenStdin:
    """A pipe to a job. `told(number, refused)` answers what was taken under that number; None: the job has it."""

    def __init__(self, loop: Loop, first: bytes, answered: Callable[[int, str | None], None]) -> None:
        self._loop = loop
        self._answered = answered
        self._unwritten = bytearray(first)
        self._waiting: list[int] = []
        self._reading: int | None = None
        self._writing: int | None = None
        self._eof = False
        """Nothing more comes: the pipe is closed once all of it is written."""
        self._refused: str | None = None

    def open(self) -> int:
        """The reading end, for the job's process; the same one until `started`. Raises OSError."""
        if self._reading is None:
            self._reading, self._writing = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(self._writing, False)
        return self._reading

    def started(self) -> None:
        """The process has its end: what was sent so far is written from now on."""
        if self._reading is not None:
            os.close(self._reading)
            self._reading = None
        self._write()

    def take(self, number: int, data: bytes, eof: bool) -> None:
        """Write this too, and close the pipe behind it at `eof`."""
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
        """Nobody reads any more. What was not taken is refused, and so is all that comes."""
        self._refused = why
        self._unwritten.clear()
        if self._reading is not None:
            os.close(self._reading)
            self._reading = None
        self._close_pipe()
        self._answer(why)

    def _write(self, _events: int = 0) -> None:
        if self._writing is None or self._reading is not None:
            return  # the process is not there yet, or reads no more
        try:
            while self._unwritten:
                del self._unwritten[: os.write(self._writing, self._unwritten[:ROOM_BYTES])]
        except BlockingIOError:
            self._loop.watch(self._writing, self._write, select.POLLOUT)
        except OSError:  # the job reads no more; or the kernel has an error for us, and half of it went
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
