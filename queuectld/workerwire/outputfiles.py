"""The files that output is written to: the head of a stream and its newest pieces. Written bytes are never changed.

While a job runs, its pieces are `worker-<id>.<stream>.<offset>.log` in the log folder, `offset` being the
position in the stream. When the job has ended they are renamed to `<seq // 1000>/<seq>.<run>.<stream>[.<offset>].log`.
The total size of a stream's pieces is limited: half of the limit is for the head, the rest for the newest pieces, the
oldest of which is removed when a new one is started. A full piece is cut after its last line end, and the rest moves to
the next piece, so that only whole lines are removed.
"""

from __future__ import annotations

import contextlib
import errno
import os

from queuectld import failpoints

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

NEWEST_PIECES: Final = 4
SMALLEST_PIECE_BYTES: Final = 4096
"""The smallest piece, so that a tiny limit does not create a file for every few bytes."""
LINE_BYTES: Final = 64 * 1024
"""How far back a line end is searched for; a longer line is cut at the end of the piece."""
_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class Piece:
    """One file, and the range of the stream that it contains."""

    __slots__ = ("length", "offset", "path")

    def __init__(self, path: str, offset: int) -> None:
        self.path = path
        self.offset = offset
        self.length = 0


class OutputFiles:
    """The files of one stream of a worker, for one run at a time. The first file stays open for the next run."""

    def __init__(self, folder: str, worker: int, stream: str) -> None:
        self._folder = folder
        self._prefix = f"worker-{worker}.{stream}."
        self._stream = stream
        self._limit = 0
        self._pieces: list[Piece] = []
        self._current: int | None = None
        self._spare: int | None = None

    def begin(self, limit: int) -> None:
        """Start a new run, which keeps up to `limit` bytes."""
        self._limit = limit

    @property
    def snapshot(self) -> list[list[object]]:
        """Return the current files, oldest first: [[path below the log folder, offset, length], ...]."""
        return [[os.path.relpath(piece.path, self._folder), piece.offset, piece.length] for piece in self._pieces]

    def write(self, data: bytes | bytearray, offset: int) -> int:
        """Write part of `data`, which starts at `offset` in the stream. Return the number of bytes written.

        Raises OSError. After `abandon_piece`, the next write starts a new piece.
        """
        descriptor, room = self._current_piece(offset)
        written = os.write(descriptor, memoryview(data)[:room])
        self._pieces[-1].length += written
        return written

    def splice(self, source: int, count: int, offset: int) -> int:
        """Move up to `count` bytes from the pipe `source` with splice(2). Return the number, 0 at the end of the pipe.

        Raises BlockingIOError if the pipe is empty, or OSError like `write`.
        """
        descriptor, room = self._current_piece(offset)
        moved = os.splice(source, descriptor, min(count, room))
        self._pieces[-1].length += moved
        return moved

    def abandon_piece(self) -> None:
        """End the current piece because of a gap in the stream; remove it if it is empty."""
        if self._current is not None:
            os.close(self._current)
            self._current = None
        if self._pieces and not self._pieces[-1].length:
            _remove(self._pieces.pop().path)

    def discard(self) -> None:
        """Discard the files of a run whose output is stored inline. The first stays open, empty, for the next run."""
        if self._current is not None and len(self._pieces) == 1:
            with contextlib.suppress(OSError):  # then discard it like the others
                os.ftruncate(self._current, 0)
                os.lseek(self._current, 0, os.SEEK_SET)
                self._spare, self._current = self._current, None
                self._pieces.clear()
                return
        self._forget()

    def keep(self, seq: int, run: int) -> list[list[object]]:
        """Rename the files to their final names and return them like `snapshot`. Raises OSError."""
        self.abandon_piece()  # removes an empty last piece
        kept: list[list[object]] = []
        try:
            for piece in self._pieces:
                name = final_name(seq, run, self._stream, piece.offset)
                _rename(piece.path, os.path.join(self._folder, name))
                failpoints.reached("worker.renamed")
                kept.append([name, piece.offset, piece.length])
        finally:
            self._forget(len(kept))
        return kept

    def close(self) -> None:
        """Close and remove all files: the worker ends."""
        self.discard()
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None
            _remove(os.path.join(self._folder, self._prefix + "0.log"))

    def _current_piece(self, offset: int) -> tuple[int, int]:
        """Return the descriptor to write to and the number of bytes that fit."""
        if self._current is not None:
            piece = self._pieces[-1]
            room = self._size_of(len(self._pieces) - 1) - piece.length
            if room > 0:
                return self._current, room
        if len(self._pieces) > NEWEST_PIECES:
            _remove(self._pieces.pop(1).path)
        if self._current is not None:
            return self._start_piece(self._current)
        path = f"{os.path.join(self._folder, self._prefix)}{offset}.log"
        if self._spare is not None and offset == 0:
            self._current, self._spare = self._spare, None
        else:
            self._current = _create(path)
        self._pieces.append(Piece(path, offset))
        return self._current, self._size_of(len(self._pieces) - 1)

    def _start_piece(self, full: int) -> tuple[int, int]:
        """Start the next piece with the incomplete line from the end of the full one."""
        before = self._pieces[-1]
        size = self._size_of(len(self._pieces))
        most = min(LINE_BYTES, size // 2, before.length // 2)
        tail = _incomplete_line(os.pread(full, most, before.length - most))
        piece = Piece("", before.offset + before.length - len(tail))
        piece.path = f"{os.path.join(self._folder, self._prefix)}{piece.offset}.log"
        descriptor = _create(piece.path)
        try:
            if tail:
                piece.length = os.write(descriptor, tail)
                if piece.length < len(tail):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.ftruncate(full, before.length - len(tail))
        except OSError:
            os.close(descriptor)
            _remove(piece.path)
            raise
        before.length -= len(tail)
        os.close(full)
        self._current = descriptor
        self._pieces.append(piece)
        return descriptor, size - piece.length

    def _size_of(self, index: int) -> int:
        share = self._limit // 2 if index == 0 else self._limit // (2 * NEWEST_PIECES)
        return max(share, SMALLEST_PIECE_BYTES)

    def _forget(self, kept: int = 0) -> None:
        """Close and remove the pieces after the first `kept`."""
        if self._current is not None:
            os.close(self._current)
            self._current = None
        for piece in self._pieces[kept:]:
            _remove(piece.path)
        self._pieces.clear()


def _incomplete_line(data: bytes) -> bytes:
    """Return the text after the last newline, or else the last carriage return; empty if there is neither."""
    end = data.rfind(b"\n") + 1 or data.rfind(b"\r") + 1
    return data[end:] if end else b""


def final_name(seq: int, run: int, stream: str, offset: int = 0) -> str:
    """Return the path of a finished file below the log folder. A thousand jobs share a folder."""
    piece = f".{offset}" if offset else ""
    return f"{seq // 1000:06d}/{seq}.{run}.{stream}{piece}.log"


def live_files(folder: str, worker: int) -> list[tuple[str, str, int, int]]:
    """Return (name, stream, offset, size) of the files of a current run, in order of offset.

    The daemon uses it to follow a run, and to recover or remove the files of a killed worker.
    """
    found = []
    prefix = f"worker-{worker}."
    for name in os.listdir(folder):
        parts = name.split(".")
        if name.startswith(prefix) and len(parts) == 4 and parts[2].isdecimal():
            with contextlib.suppress(FileNotFoundError):
                found.append((name, parts[1], int(parts[2]), os.stat(os.path.join(folder, name)).st_size))
    return sorted(found, key=lambda one: (one[1], one[2]))


def _create(path: str) -> int:
    try:
        return os.open(path, _FLAGS, 0o600)
    except FileNotFoundError:  # the log folder was removed
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        return os.open(path, _FLAGS, 0o600)


def _rename(source: str, target: str) -> None:
    try:
        os.rename(source, target)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
        os.rename(source, target)


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):  # a file that stays must not end the worker
        os.unlink(path)
