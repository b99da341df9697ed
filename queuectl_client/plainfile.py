"""Opening a file where anything may lie: a FIFO that nobody writes to, a device, a folder, a link, an endless file.

It may have been put there by accident, and to wait for it would hang every command. Nothing here waits, follows a
link at the end of a path, or reads more than it was told to.
"""

import errno
import os
import stat
from typing import Final

_FLAGS: Final = os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | os.O_NOFOLLOW
_OTHER_KINDS: Final = frozenset({errno.ENXIO, errno.ENODEV, errno.EISDIR})
"""What open(2) says of a FIFO that nobody reads, a socket, a device without a driver, a folder to be written."""


def open_plain(path: str | os.PathLike[str], flags: int = os.O_RDONLY, mode: int = 0o600) -> int:
    """A descriptor of the regular file at `path`. Raises OSError, also for anything else that lies there."""
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
    """The first `most` bytes of the regular file at `path`. Raises OSError, also for anything else that lies there."""
    descriptor = open_plain(path)
    try:
        data = os.read(descriptor, most)
        while len(data) < most and (piece := os.read(descriptor, most - len(data))):
            data += piece
        return data
    finally:
        os.close(descriptor)


def is_locked(path: str | os.PathLike[str]) -> bool:
    """Whether a process that lives holds a lock (flock(2)) on the file at `path`."""
    import fcntl  # seldom needed

    try:
        descriptor = open_plain(path)
    except OSError:
        return False
    try:
        # A shared lock, tried and dropped at once: it keeps nobody out for longer than this call.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def missing_target(path: str | os.PathLike[str]) -> str | None:
    """What is wrong with a symbolic link whose target is not there, in words that name both; None for all else."""
    if not os.path.islink(path) or os.path.exists(path):
        return None
    return f"{os.fspath(path)} is a symbolic link to {os.readlink(path)}, which is not there (is a disk not mounted?)"


def _not_plain(path: str | os.PathLike[str]) -> OSError:
    return OSError(errno.EINVAL, "it is not a regular file", path)
