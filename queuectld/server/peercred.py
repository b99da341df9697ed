"""Who is at the other end of a Unix socket, as the kernel knows it."""

import os
import socket
import struct
from typing import Final

UCRED: Final = struct.Struct("3i")
"""pid, uid, gid of unix(7)."""


def rejection_reason(peer: socket.socket) -> str | None:
    """Why a process that connected is not let in: only those of this daemon's user are. None: it is let in."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None  # the file's mode 0600 is what keeps others out there
    try:
        _pid, uid, _gid = UCRED.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, UCRED.size))
    except OSError as error:
        return f"whose user it is cannot be told: {error.strerror}"
    return None if uid == os.geteuid() else f"it is of another user ({uid})"
