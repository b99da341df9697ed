"""The socket in the file system: bound private from its first moment, and removed only when it still is ours.

Owns the path, its folder and what lies there. Knows nothing of connections.
"""

import errno
import os
import socket
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from queuectl_client.plainfile import missing_target
from queuectld.server.folders import weakness

MAX_ADDRESS_BYTES: Final = 107
"""`sun_path` of unix(7) has 108 bytes, one of them for the NUL."""

BACKLOG: Final = 1024
"""Connects that may wait while the loop is busy; a burst of as many clients as we serve at all."""

PRIVATE_FOLDER: Final = 0o700
PRIVATE_FILE: Final = 0o600


class SocketRefused(Exception):
    """Why the daemon cannot listen at a path, in words that name it."""


class FileId(NamedTuple):
    """Which file lies at a path: paths are used again, this is not while the socket lives."""

    device: int
    inode: int


class BoundSocket(NamedTuple):
    """A listening socket with its path. `ours`: this process has bound it, so it removes the file in the end."""

    listening: socket.socket
    path: Path
    file: FileId | None
    ours: bool


def bind(path: Path) -> BoundSocket:
    """Listen at `path`: mode 0600, in a folder that is made 0700 when it is not there.

    The caller holds the daemon's lock, so a socket that nobody answers at is stale and is replaced.
    SocketRefused when something else lies there, when another program listens, or when the folder is unsafe.
    """
    try:
        folder = open_private_folder(path.parent)
    except OSError as error:
        raise SocketRefused(f"cannot use the folder of the socket {path}: {error.strerror}") from error
    try:
        address = short_address(path, folder)
        _clear(path, address)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            # On Linux the file gets the mode of the socket less the umask: there is no moment with a wider one.
            os.fchmod(listening.fileno(), PRIVATE_FILE)
            listening.bind(address)
            listening.listen(BACKLOG)
        except OSError as error:
            listening.close()
            raise SocketRefused(f"cannot listen at {path}: {error.strerror}") from error
        return BoundSocket(listening, path, file_id(path), ours=True)
    finally:
        os.close(folder)


def unlink(bound: BoundSocket) -> None:
    """Remove the file of a socket that this process bound, unless another lies there by now."""
    if bound.ours and bound.file is not None and file_id(bound.path) == bound.file:
        with suppress(FileNotFoundError):
            bound.path.unlink()


def is_answered(path: Path) -> bool:
    """Whether somebody accepts connections at `path`."""
    try:
        folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return _is_answered(short_address(path, folder))
    except SocketRefused:
        return False
    finally:
        os.close(folder)


def file_id(path: Path) -> FileId | None:
    """Which file lies at `path`; None when there is none, or it cannot be looked at."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return FileId(found.st_dev, found.st_ino)


def open_private_folder(folder: Path) -> int:
    """An O_PATH descriptor of a folder in which nobody else can remove or replace our files. Made 0700 when missing.

    See `folders` for what is asked of it and of those above. SocketRefused otherwise, OSError when it cannot be made.
    """
    for missing in reversed([place for place in (folder, *folder.parents) if not place.exists()]):
        if (said := missing_target(missing)) is not None:
            raise SocketRefused(said)
        with suppress(FileExistsError):  # another daemon that starts at the same time made it
            missing.mkdir(mode=PRIVATE_FOLDER)
    if (said := weakness(folder)) is not None:
        raise SocketRefused(said)
    return os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def short_address(path: Path, folder: int) -> str:
    """An address for `path` that fits into a socket's name, through /proc/self/fd when the path is too long."""
    if len(os.fsencode(path)) <= MAX_ADDRESS_BYTES:
        return str(path)
    address = f"/proc/self/fd/{folder}/{path.name}"
    if len(os.fsencode(address)) > MAX_ADDRESS_BYTES:
        raise SocketRefused(f"the name of the socket is too long: {path.name} (its folder may be as deep as you like)")
    return address


def _clear(path: Path, address: str) -> None:
    """Remove a stale socket. SocketRefused when what lies at `path` is no socket of ours, or is answered."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise SocketRefused(f"cannot look at {path}: {error.strerror}") from error
    if not stat.S_ISSOCK(found.st_mode):
        raise SocketRefused(f"{path} is in the way: it is no socket; move it elsewhere")
    if found.st_uid != os.geteuid():
        raise SocketRefused(f"{path} is in the way: it belongs to user {found.st_uid}")
    if _is_answered(address):
        raise SocketRefused(f"another program listens at {path}")
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise SocketRefused(f"cannot remove the stale socket {path}: {error.strerror}") from error


def _is_answered(address: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as probe:
        # EAGAIN: a listener whose backlog is full is there all the same.
        return probe.connect_ex(address) in (0, errno.EAGAIN)
