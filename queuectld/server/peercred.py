"""Who is at the other end of a Unix socket, as the kernel knows it."""

import os
import socket
import struct
from typing import Final

UCRED: Final = struct.Struct("3i")
"""pid, uid, gid of unix(7)."""


def is_own_user(peer: socket.socket) -> bool:
    """Whether the process that connected runs as the user of this daemon. False where that cannot be told."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True  # the file's mode 0600 is what keeps others out there
    try:
        _pid, uid, _gid = UCRED.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, UCRED.size))
    except OSError:
        return False
    return bool(uid == os.geteuid())
