"""Connect to the daemon's socket, and refuse sockets and servers of other users.

Clients send their environment, which may hold secrets. So the socket, its folder and the server process must belong to
this user before any byte is sent. See `autostart` for starting a daemon.
"""

import errno
import os
import socket
import stat
import struct
from typing import Final

from queuectl_client.errors import DaemonUnreachable, ForeignServer, NoDaemon
from queuectl_client.paths import socket_address

ACCEPT_WITHIN_S: Final = 10.0
"""Seconds for a daemon whose accept queue is full to accept a connection."""

_NOBODY: Final = frozenset({errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR})
_UCRED: Final = struct.Struct("3i")


def open_socket(path: str) -> socket.socket:
    """Return a connected, non-blocking socket whose server runs as this user.

    Raise NoDaemon if nothing listens, ForeignServer if it belongs to another user, otherwise DaemonUnreachable.
    """
    try:
        check_owner(path)
        connection = _connect(path)
    except OSError as error:
        if error.errno in _NOBODY:
            raise NoDaemon(f"no daemon listens on {path}") from None
        if error.errno == errno.EAGAIN:
            raise DaemonUnreachable(f"the daemon on {path} accepts no connection: it hangs or is overrun") from None
        raise DaemonUnreachable(f"cannot connect to {path}: {error.strerror or error}") from None
    try:
        _check_peer(connection, path)
        connection.setblocking(False)
    except OSError as error:
        connection.close()
        raise DaemonUnreachable(f"cannot connect to {path}: {error.strerror or error}") from None
    except BaseException:
        connection.close()
        raise
    return connection


def check_owner(path: str) -> None:
    """Raise ForeignServer unless `path` is a socket of this user in a folder where no other user can create one.

    A group-writable folder is allowed: systems with a group per user create folders like that, and the credentials of
    the server are checked in any case. Raise OSError if the path does not exist.
    """
    found = os.lstat(path)
    if not stat.S_ISSOCK(found.st_mode):
        raise ForeignServer(f"{path} is not a socket, so nothing was sent to it")
    if found.st_uid != os.geteuid():
        raise ForeignServer(f"{path} belongs to user {found.st_uid}, so nothing was sent to it")
    folder = os.path.dirname(path)
    above = os.stat(folder)
    if above.st_uid not in (os.geteuid(), 0):
        raise ForeignServer(f"{folder} belongs to user {above.st_uid}, so nothing was sent to the socket in it")
    if above.st_mode & stat.S_IWOTH and not above.st_mode & stat.S_ISVTX:
        raise ForeignServer(f"{folder} is writable by everybody, so nothing was sent to the socket in it")


def peer_credentials(connection: socket.socket) -> tuple[int, int, int]:
    """Return pid, uid and gid of the peer process (unix(7), SO_PEERCRED)."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid, uid, gid = _UCRED.unpack(raw)
    return pid, uid, gid


def _connect(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # A non-blocking connect fails at once if the accept queue is full; a blocking one waits this long.
        seconds = int(ACCEPT_WITHIN_S)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", seconds, 0))
        with socket_address(path) as address:
            connection.connect(address)
    except BaseException:
        connection.close()
        raise
    return connection


def _check_peer(connection: socket.socket, path: str) -> None:
    _, uid, _ = peer_credentials(connection)
    if uid != os.geteuid():
        raise ForeignServer(f"the server on {path} runs as user {uid}, so nothing was sent to it")
