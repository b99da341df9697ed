"""Checks the credentials of the peer of a Unix socket."""

import os
import socket
import struct
from typing import Final

UCRED: Final = struct.Struct("3i")
"""pid, uid, gid of unix(7)."""


def rejection_reason(peer: socket.socket) -> str | None:
    """Return why a peer is refused: only processes of the daemon's user are accepted. None if accepted."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None  # there the mode of the socket file, 0600, excludes other users
    try:
        _pid, uid, _gid = UCRED.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, UCRED.size))
    except OSError as error:
        return f"cannot read its credentials: {error.strerror}"
    return None if uid == os.geteuid() else f"it belongs to another user ({uid})"
