"""One daemon per store: two locks, taken before socket or store are touched.

`start.lock` is held while a daemon starts, so that twenty of them start one after the other; `queuectld.lock` is
held as long as a daemon lives, and names its socket. The kernel drops both when their process ends, however it does.
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
"""How long to wait for the lock of a daemon that does not answer, 10 s in all: it is on its way out, or has lost its
socket and binds it again. Between the waits its socket is tried."""


class LockRefused(Exception):
    """Why this daemon cannot have the store, in words."""


class Holder(NamedTuple):
    """The daemon that has the lock, as it says itself."""

    pid: int
    socket: Path
    version: str


class DaemonLock:
    """The lock of the running daemon. Made by `take`."""

    def __init__(self, start: int, lock: int) -> None:
        self._start = start
        self._lock = lock

    def announce(self, socket: Path) -> None:
        """The daemon answers at `socket`: say so in the lock file, and let the next candidate look."""
        said = json.dumps({"pid": os.getpid(), "socket": str(socket), "version": __version__}) + "\n"
        line = said.encode("utf-8", "surrogateescape")
        # One write over the old line, then the rest cut off: a reader never sees an empty file.
        os.pwrite(self._lock, line, 0)
        os.ftruncate(self._lock, len(line))
        if self._start >= 0:
            os.close(self._start)
            self._start = -1

    def release(self) -> None:
        """Nobody runs any longer. The file stays: a removed lock file could be locked twice."""
        os.ftruncate(self._lock, 0)
        os.close(self._lock)
        if self._start >= 0:
            os.close(self._start)
            self._start = -1


def take(start_path: Path, lock_path: Path) -> DaemonLock | Holder:
    """The lock; or who has it, when that daemon answers.

    Waits for another candidate to have started, and up to 10 s for a daemon that is on its way out.
    LockRefused when the folder cannot be used, or when somebody holds the lock and does not answer.
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
            os.ftruncate(lock, 0)  # what a killed daemon has left there names a socket that may be another's by now
            return DaemonLock(start, lock)
        # Somebody removed the file between our open and our lock: what we hold is a lock on nothing.
        os.close(lock)
        lock = _open(lock_path)


def holder_of(path: Path) -> Holder | None:
    """Who says to hold the lock. None when nobody does, or the file is not readable as such."""
    said = read_lock(str(path))
    try:
        return Holder(int(str(said["pid"])), Path(str(said["socket"])), str(said["version"]))
    except (ValueError, KeyError):
        return None


def _wait_for(lock: int, path: Path) -> Holder | None:
    """None once the lock is ours; the holder when it answers. LockRefused when neither comes true."""
    if _flock_within(lock, None):
        return None
    for patience_s in PATIENCE_S:
        holder = holder_of(path)
        if holder is not None and is_answered(holder.socket):
            return holder
        os.utime(path)  # a daemon watches its lock file: this asks it to look after its socket
        if _flock_within(lock, patience_s):
            return None
    holder = holder_of(path)
    who = f"process {holder.pid}" if holder is not None else "another process"
    raise LockRefused(f"{who} holds {path} and does not answer at its socket; end it, then start the daemon again")


def _flock_within(descriptor: int, seconds: float | None) -> bool:
    """Whether the lock could be had at once (None), or within so many seconds."""
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
    """TimeoutError in the block after so many seconds. Only in the main thread, before the loop runs."""

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, ring)
    # It rings again and again: a first ring that came just before the system call would wake nobody.
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
