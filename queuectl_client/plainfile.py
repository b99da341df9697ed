"""Open a path that may be anything: a FIFO without a writer, a device, a folder, a link, an endless file.

Such a file may be there by accident, and waiting for it would hang every command. Nothing here blocks, follows a final
symbolic link, or reads more than asked.
"""

import errno
import os
import stat
from typing import Final

_FLAGS: Final = os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | os.O_NOFOLLOW
_OTHER_KINDS: Final = frozenset({errno.ENXIO, errno.ENODEV, errno.EISDIR})
"""Errors of open(2) for a FIFO without a reader, a socket, a device without a driver, writing to a folder."""


def open_plain(path: str | os.PathLike[str], flags: int = os.O_RDONLY, mode: int = 0o600) -> int:
    """Return a descriptor of the regular file at `path`. Raise OSError, also if it is another kind of file."""
    try:
        descriptor = os.open(path, flags | _FLAGS, mode)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "it is a symbolic link", path) from None
        if error.errno in _OTHER_KINDS:
            raise _not_plain(path) from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _not_plain(path)
    return descriptor


def read_plain(path: str | os.PathLike[str], most: int) -> bytes:
    """Return the first `most` bytes of the regular file at `path`. Raise OSError, also for another kind of file."""
    descriptor = open_plain(path)
    try:
        data = os.read(descriptor, most)
        while len(data) < most and (piece := os.read(descriptor, most - len(data))):
            data += piece
        return data
    finally:
        os.close(descriptor)


def is_locked(path: str | os.PathLike[str]) -> bool:
    """Return whether a process holds a lock (flock(2)) on the file at `path`."""
    import fcntl  # seldom needed

    try:
        descriptor = open_plain(path)
    except OSError:
        return False
    try:
        # A shared lock, released at once: it blocks others no longer than this call.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def missing_target(path: str | os.PathLike[str]) -> str | None:
    """Return an error text that names a dangling symbolic link and its target; None if `path` is not one."""
    if not os.path.islink(path) or os.path.exists(path):
        return None
    return f"{os.fspath(path)} is a symbolic link to {os.readlink(path)}, which is not there (is a disk not mounted?)"


def _not_plain(path: str | os.PathLike[str]) -> OSError:
    return OSError(errno.EINVAL, "it is not a regular file", path)
