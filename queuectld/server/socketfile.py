"""Socket files: bound with mode 0600 atomically, and removed only if still the same file."""

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
"""Connections that may wait to be accepted: as many as the default client limit."""

PRIVATE_FOLDER: Final = 0o700
PRIVATE_FILE: Final = 0o600


class SocketRefused(Exception):
    """The daemon cannot listen at a path; the message names it."""


class FileId(NamedTuple):
    """Identity of a file: unlike its path, not reused while the socket is open."""

    device: int
    inode: int


class BoundSocket(NamedTuple):
    """A listening socket with its path. `ours`: this process bound it, and removes the file at the end."""

    listening: socket.socket
    path: Path
    file: FileId | None
    ours: bool


def bind(path: Path) -> BoundSocket:
    """Listen at `path` with mode 0600, in a folder that is created with mode 0700 if missing.

    The caller holds the daemon's lock, so a socket without a listener is stale and is replaced.
    Raises SocketRefused if another file exists there, another program listens, or the folder is unsafe.
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
            # On Linux the file gets the mode of the socket minus the umask, atomically.
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
    """Remove the file of a socket that this process bound, unless it was replaced."""
    if bound.ours and bound.file is not None and file_id(bound.path) == bound.file:
        with suppress(FileNotFoundError):
            bound.path.unlink()


def is_answered(path: Path) -> bool:
    """Whether a process accepts connections at `path`."""
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
    """Return the identity of the file at `path`; None if it is missing or inaccessible."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return FileId(found.st_dev, found.st_ino)


def open_private_folder(folder: Path) -> int:
    """Return an O_PATH descriptor of a folder in which no other user can remove or replace files.

    The folder is created with mode 0700 if missing. Raises SocketRefused if it fails the checks of `folders`, OSError
    if it cannot be created.
    """
    for missing in reversed([place for place in (folder, *folder.parents) if not place.exists()]):
        if (said := missing_target(missing)) is not None:
            raise SocketRefused(said)
        with suppress(FileExistsError):  # created by another daemon that is starting
            missing.mkdir(mode=PRIVATE_FOLDER)
    if (said := weakness(folder)) is not None:
        raise SocketRefused(said)
    return os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def short_address(path: Path, folder: int) -> str:
    """Return an address for `path` that fits into sun_path, through /proc/self/fd if the path is too long."""
    if len(os.fsencode(path)) <= MAX_ADDRESS_BYTES:
        return str(path)
    address = f"/proc/self/fd/{folder}/{path.name}"
    if len(os.fsencode(address)) > MAX_ADDRESS_BYTES:
        raise SocketRefused(f"socket name too long: {path.name} (the path of its folder may have any length)")
    return address


def _clear(path: Path, address: str) -> None:
    """Remove a stale socket. Raises SocketRefused if the file is not a socket of this user, or has a listener."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise SocketRefused(f"cannot look at {path}: {error.strerror}") from error
    if not stat.S_ISSOCK(found.st_mode):
        raise SocketRefused(f"cannot listen at {path}: it exists and is not a socket; move it elsewhere")
    if found.st_uid != os.geteuid():
        raise SocketRefused(f"cannot listen at {path}: it belongs to user {found.st_uid}")
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
        # EAGAIN: there is a listener, but its backlog is full.
        return probe.connect_ex(address) in (0, errno.EAGAIN)
