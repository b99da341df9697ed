"""Captures the output of a job: reads its pipe, keeps little output in memory, and writes more to files.

Only the worker writes the files. If a file were the job's stdout, `echo … > /dev/stderr` would truncate it, and a child
left behind would write into the output of a later job.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from queuectld.workerwire.outputfiles import OutputFiles

INLINE_BYTES: Final = 16 * 1024
"""Output up to this size stays in memory and is stored in the attempt's row: a file costs as much as a process."""
READ_BYTES: Final = 64 * 1024
"""The default capacity of a pipe."""
BULK_PIPE_BYTES: Final = 1024 * 1024
"""The pipe capacity for a job that writes much, for fewer context switches."""
RETRY_SECONDS: Final = 1.0
"""How long output is dropped after a failed write, before the next attempt."""
_F_SETPIPE_SZ: Final = 1031
_NO_SPLICE: Final = frozenset({errno.EINVAL, errno.ENOSYS})


class Capture:
    """The output of one stream of one run. `size` counts all bytes read from the pipe."""

    __slots__ = (
        "_bulk",
        "_can_splice",
        "_files",
        "_memory",
        "_retry_at",
        "_through",
        "at_end",
        "dropped",
        "fd",
        "size",
        "stream",
        "why_dropped",
    )

    def __init__(self, stream: str, fd: int, files: OutputFiles) -> None:
        self.stream = stream
        self.fd = fd
        self.size = 0
        self.at_end = False
        self.dropped = 0
        """Bytes that could not be written, because of `why_dropped`; without those that were rotated out."""
        self.why_dropped = ""
        self._files = files
        self._memory: bytearray | None = bytearray()
        """All of the output while it is at most INLINE_BYTES, even if it is also in a file."""
        self._through = False
        self._bulk = False
        self._can_splice = True
        self._retry_at = 0.0

    @property
    def snapshot(self) -> list[Any]:
        """The current [size, inline, files]."""
        if not self._through:
            return [self.size, bytes(self._memory or b""), []]
        return [self.size, None, self._files.snapshot]

    def write_through(self) -> None:
        """Write output to a file as soon as it is read, starting with what is in memory."""
        if not self._through:
            self._through = True
            if self._memory:
                self._put(self._memory, 0)

    def take(self) -> bool:
        """Read from the pipe once, without waiting. False at its end.

        Raises BlockingIOError when the pipe is empty.
        """
        if self._bulk and self._can_splice and self._retry_at <= time.monotonic():
            return self._splice()
        data = os.read(self.fd, READ_BYTES)
        if data:
            self._add(data)
        else:
            self.at_end = True
        return bool(data)

    def drain(self) -> None:
        """Read what was in the pipe when the job ended. `at_end` is false if a process still holds the other end.

        Reads at most the capacity of the pipe, so that a process that keeps writing cannot delay the end of the run.
        """
        most = self.size + (BULK_PIPE_BYTES if self._bulk else READ_BYTES)
        try:
            while self.size <= most and self.take():
                pass
        except BlockingIOError:
            return

    def finish(self, seq: int, run: int) -> list[Any]:
        """Give the files their final names and return [size, inline, files] for the outcome. Leaves the pipe open."""
        if self._memory is not None:
            if self._through:
                self._files.discard()
            return [self.size, bytes(self._memory), []]
        try:
            return [self.size, None, self._files.keep(seq, run)]
        except OSError as error:
            self.dropped, self.why_dropped = self.size, error.strerror or str(error)
            return [self.size, None, []]

    def _add(self, data: bytes) -> None:
        offset = self.size
        self.size += len(data)
        memory = self._memory
        if memory is not None:
            if self.size <= INLINE_BYTES:
                memory += data
                if self._through:
                    self._put(data, offset)
                return
            self.write_through()
            self._memory = None
        elif not self._bulk and self.size > BULK_PIPE_BYTES:
            self._begin_bulk()
        self._put(data, offset)

    def _begin_bulk(self) -> None:
        self._bulk = True
        with contextlib.suppress(OSError):  # the user's pipe memory may be exhausted
            fcntl.fcntl(self.fd, _F_SETPIPE_SZ, BULK_PIPE_BYTES)

    def _put(self, data: bytes | bytearray, offset: int) -> None:
        """Write the data, or count it as dropped: a full disk does not stop the job."""
        done = 0
        if self._retry_at <= time.monotonic():
            try:
                while done < len(data):
                    done += self._files.write(data[done:] if done else data, offset + done)
            except OSError as error:
                self._fail(error)
        self.dropped += len(data) - done

    def _splice(self) -> bool:
        try:
            moved = self._files.splice(self.fd, BULK_PIPE_BYTES, self.size)
        except BlockingIOError:
            raise
        except OSError as error:
            if error.errno in _NO_SPLICE:
                self._can_splice = False  # not on this file system; what is in the pipe is still there
            else:
                self._fail(error)
            return self.take()
        self.size += moved
        self.at_end = moved == 0
        return moved > 0

    def _fail(self, error: OSError) -> None:
        self.why_dropped = error.strerror or str(error)
        self._retry_at = time.monotonic() + RETRY_SECONDS
        self._files.abandon_piece()
