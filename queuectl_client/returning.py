"""Waiting for a daemon that is away to come back, without asking again and again.

The kernel tells (inotify(7)) when a socket or the daemon's lock appears or is written. This module starts no daemon;
it is imported only where one has gone away, for ctypes costs more than all the rest of a short command.
"""

import ctypes
import os
import select
import socket
import struct
import time
from typing import Final

from queuectl_client.errors import NoDaemon
from queuectl_client.find import connect_to_daemon
from queuectl_client.paths import Paths

# <sys/inotify.h>. A daemon writes its lock only after it listens, so a socket that is bound but does not listen yet
# is not missed for good: the lock's event follows.
_IN_MODIFY: Final = 0x2
_IN_MOVED_TO: Final = 0x80
_IN_CREATE: Final = 0x100
_EVENT: Final = struct.Struct("iIII")


def wait_for_daemon(paths: Paths, seconds: float) -> socket.socket:
    """A connection to the daemon as soon as there is one. Raises NoDaemon when none came within `seconds`."""
    deadline = time.monotonic() + seconds
    with _Watch([paths.socket, paths.lock]) as watch:
        while True:
            try:
                # Only after the watch is set: a daemon that came in between is here, a later one is told of.
                return connect_to_daemon(paths)
            except NoDaemon:
                if not watch.wait(deadline):
                    raise


class _Watch:
    """Tells when one of the files appears in its folder, or is written to."""

    def __init__(self, files: list[str]) -> None:
        self._names = {os.fsencode(os.path.basename(file)) for file in files}
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        for folder in {os.path.dirname(file) for file in files}:
            # A folder that does not exist is not watched: whoever makes it starts a daemon in it, and is not awaited.
            libc.inotify_add_watch(self._descriptor, os.fsencode(folder), _IN_CREATE | _IN_MOVED_TO | _IN_MODIFY)

    def __enter__(self) -> "_Watch":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def wait(self, deadline: float) -> bool:
        """Return when one of the files changed: True, or False at the deadline (of time.monotonic)."""
        poller = select.poll()
        poller.register(self._descriptor, select.POLLIN)
        while (left := deadline - time.monotonic()) > 0:
            if poller.poll(left * 1000) and self._names & self._changed():
                return True
        return False

    def _changed(self) -> set[bytes]:
        events, names, at = os.read(self._descriptor, 65536), set(), 0
        while at < len(events):
            *_, length = _EVENT.unpack_from(events, at)
            at += _EVENT.size + length
            names.add(events[at - length : at].rstrip(b"\0"))
        return names
