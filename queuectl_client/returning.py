"""Waiting for a daemon that is away to come back, without asking again and again.

The kernel tells (inotify(7)) when a socket or the daemon's lock appears or is written. Where it has no instance or no
watch left for us, we look now and then. This module starts no daemon; it is imported only where one has gone away, for
ctypes costs more than all the rest of a short command.
"""

import ctypes
import errno
import os
import select
import socket
import struct
import time
from collections.abc import Callable
from typing import Final

from queuectl_client.errors import DaemonUnreachable, ForeignServer, NoDaemon
from queuectl_client.find import connect_to_daemon
from queuectl_client.paths import Paths

# <sys/inotify.h>. A daemon writes its lock only after it listens, so a socket that is bound but does not listen yet
# is not missed for good: the lock's event follows.
_IN_MODIFY: Final = 0x2
_IN_MOVED_TO: Final = 0x80
_IN_CREATE: Final = 0x100
_EVENT: Final = struct.Struct("iIII")

FIRST_LOOK_S: Final = 0.1
LAST_LOOK_S: Final = 2.0
"""Where nobody tells us, the gaps between two looks grow from the first to the last."""

_has_said = False


def wait_for_daemon(paths: Paths, seconds: float, notice: Callable[[str], None] | None = None) -> socket.socket:
    """A connection to the daemon as soon as there is one. Raises NoDaemon when none came within `seconds`.

    `notice` gets a line, the first time in this process, where it is only looked for now and then, and so may be found
    a little later.
    """
    global _has_said
    deadline = time.monotonic() + seconds
    with _Watch([paths.socket, paths.lock]) as watch:
        if watch.why_not and notice is not None and not _has_said:
            _has_said = True
            notice(f"Polling for the daemon, as its files cannot be watched ({watch.why_not}).")
        while True:
            try:
                # Only after the watch is set: a daemon that came in between is here, a later one is told of.
                return connect_to_daemon(paths)
            except ForeignServer:
                raise
            except DaemonUnreachable as error:
                # Where there was no room, there or here, at this moment, nobody tells when there is.
                if not watch.wait(deadline, look=not isinstance(error, NoDaemon)):
                    raise


class _Watch:
    """Tells when one of the files appears in its folder, or is written to."""

    def __init__(self, files: list[str]) -> None:
        self._names = {os.fsencode(os.path.basename(file)) for file in files}
        self.why_not = ""
        """Why nobody tells us, where that is so."""
        self._gap_s = FIRST_LOOK_S
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            self.why_not = os.strerror(ctypes.get_errno())
            return
        for folder in {os.path.dirname(file) for file in files}:
            # A folder that does not exist is not watched: whoever makes it starts a daemon in it, and is not awaited.
            mask = _IN_CREATE | _IN_MOVED_TO | _IN_MODIFY
            if libc.inotify_add_watch(self._descriptor, os.fsencode(folder), mask) < 0:
                error = ctypes.get_errno()
                if error not in (errno.ENOENT, errno.ENOTDIR):
                    self.why_not = os.strerror(error)

    def __enter__(self) -> "_Watch":
        return self

    def __exit__(self, *_: object) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def wait(self, deadline: float, *, look: bool) -> bool:
        """Return when one of the files changed: True, or False at the deadline (of time.monotonic).

        `look`: or when it is time to look, as always where nobody tells us.
        """
        poller = select.poll()
        if self._descriptor >= 0:
            poller.register(self._descriptor, select.POLLIN)
        while (left := deadline - time.monotonic()) > 0:
            if look or self.why_not:
                poller.poll(min(left, self._gap_s) * 1000)
                self._gap_s = min(self._gap_s * 2, LAST_LOOK_S)
                if self._descriptor >= 0:
                    self._changed()
                return True
            if poller.poll(left * 1000) and self._names & self._changed():
                return True
        return False

    def _changed(self) -> set[bytes]:
        try:
            events = os.read(self._descriptor, 65536)
        except OSError:
            return set()
        names, at = set(), 0
        while at < len(events):
            *_, length = _EVENT.unpack_from(events, at)
            at += _EVENT.size + length
            names.add(events[at - length : at].rstrip(b"\0"))
        return names
