"""One daemon per store: two locks, taken before the socket and the store are used.

`start.lock` is held while a daemon starts, so that daemons started at once do so one after the other. `queuectld.lock`
is held as long as a daemon runs, and contains the path of its socket. The kernel releases both when the process ends.
Both descriptors are close-on-exec: a child that inherited one would hold the lock after the daemon's death.
"""

import fcntl
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final, NamedTuple

from queuectl_client.paths import read_lock
from queuectl_client.plainfile import open_plain
from queuectld import __version__
from queuectld.server.socketfile import PRIVATE_FILE, SocketRefused, is_answered, open_private_folder

PATIENCE_S: Final = (0.1, 0.2, 0.4, 0.8, 1.5, 3.0, 4.0)
"""How long to wait for the lock of a daemon that does not answer, 10 s in total: it may be shutting down, or binding
its socket again. Its socket is tried between the waits."""


class LockRefused(Exception):
    """The daemon cannot get the lock of the store; the message says why."""


class Holder(NamedTuple):
    """The daemon that holds the lock, according to the lock file."""

    pid: int
    socket: Path
    version: str


class DaemonLock:
    """The lock of the running daemon. Made by `take`."""

    def __init__(self, start: int, lock: int) -> None:
        self._start = start
        self._lock = lock

    def announce(self, socket: Path, store: str) -> None:
        """Write the socket and the store to the lock file, and release the start lock."""
        content = {"pid": os.getpid(), "socket": str(socket), "store": store, "version": __version__}
        said = json.dumps(content) + "\n"
        line = said.encode("utf-8", "surrogateescape")
        # One write over the old line, then the rest cut off: a reader never sees an empty file.
        os.pwrite(self._lock, line, 0)
        os.ftruncate(self._lock, len(line))
        if self._start >= 0:
            os.close(self._start)
            self._start = -1

    def release(self) -> None:
        """Release the lock. The file stays, since a removed lock file could be locked twice."""
        os.ftruncate(self._lock, 0)
        os.close(self._lock)
        if self._start >= 0:
            os.close(self._start)
            self._start = -1


def take(start_path: Path, lock_path: Path) -> DaemonLock | Holder:
    """Take the lock, or return its holder if that daemon answers.

    Waits while another candidate starts, and up to 10 s for a daemon that is shutting down.
    Raises LockRefused if the folder cannot be used, or the holder does not answer.
    """
    try:
        start = _open(start_path)
        fcntl.flock(start, fcntl.LOCK_EX)
        lock = _open(lock_path)
    except OSError as error:
        raise LockRefused(f"cannot lock {error.filename or lock_path}: {error.strerror}") from error
    except SocketRefused as error:
        raise LockRefused(str(error)) from error
    while True:
        if (holder := _wait_for(lock, lock_path)) is not None:
            os.close(lock)
            os.close(start)
            return holder
        if _is_at(lock, lock_path):
            os.ftruncate(lock, 0)  # a killed daemon left its socket path there, which may be in use by another one
            return DaemonLock(start, lock)
        # The file was removed between open and lock, so this lock excludes nobody.
        os.close(lock)
        lock = _open(lock_path)


def holder_of(path: Path) -> Holder | None:
    """Return the holder named in the lock file. None if there is none, or the file is malformed."""
    said = read_lock(str(path))
    try:
        return Holder(int(str(said["pid"])), Path(str(said["socket"])), str(said["version"]))
    except (ValueError, KeyError):
        return None


def _wait_for(lock: int, path: Path) -> Holder | None:
    """Wait for the lock: None once it is ours, or the holder if it answers. Raises LockRefused otherwise."""
    if _flock_within(lock, None):
        return None
    for patience_s in PATIENCE_S:
        holder = holder_of(path)
        if holder is not None and is_answered(holder.socket):
            return holder
        os.utime(path)  # a daemon watches its lock file and then checks its socket
        if _flock_within(lock, patience_s):
            return None
    holder = holder_of(path)
    who = f"process {holder.pid}" if holder is not None else "another process"
    raise LockRefused(f"{who} holds {path} and does not answer at its socket; end it, then start the daemon again")


def _flock_within(descriptor: int, seconds: float | None) -> bool:
    """Take the lock within `seconds` (None: without waiting). Returns whether that succeeded."""
    try:
        if seconds is None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            with _alarm(seconds):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
    except (BlockingIOError, TimeoutError):
        return False
    return True


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in the block after `seconds`. Only in the main thread, before the event loop runs."""

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, ring)
    # Repeated, since a first signal just before the system call would not interrupt it.
    signal.setitimer(signal.ITIMER_REAL, seconds, 0.1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _open(path: Path) -> int:
    os.close(open_private_folder(path.parent))
    return open_plain(path, os.O_RDWR | os.O_CREAT, PRIVATE_FILE)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False
