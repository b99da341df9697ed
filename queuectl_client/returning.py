"""Wait for the daemon to come back, without polling.

Uses inotify(7) to notice when a socket or the daemon's lock appears or is written. If no inotify instance or watch is
left, polls instead. Starts no daemon. Imported only when a daemon has gone away, because importing ctypes takes longer
than the rest of a short command.
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

# <sys/inotify.h>. A daemon writes its lock only after it listens, so a socket that is bound but does not listen yet is
# not missed: the lock's event follows.
_IN_MODIFY: Final = 0x2
_IN_MOVED_TO: Final = 0x80
_IN_CREATE: Final = 0x100
_EVENT: Final = struct.Struct("iIII")

FIRST_LOOK_S: Final = 0.1
LAST_LOOK_S: Final = 2.0
"""First and last interval of polling without inotify, in seconds; it grows from one to the other."""

_has_said = False


def wait_for_daemon(paths: Paths, seconds: float, notice: Callable[[str], None] | None = None) -> socket.socket:
    """Return a connection to the daemon as soon as it listens. Raise NoDaemon if it does not within `seconds`.

    `notice` is called with a line, once per process, if polling is used, which may find the daemon a little later.
    """
    global _has_said
    deadline = time.monotonic() + seconds
    with _Watch([paths.socket, paths.lock]) as watch:
        if watch.why_not and notice is not None and not _has_said:
            _has_said = True
            notice(f"Polling for the daemon, as its files cannot be watched ({watch.why_not}).")
        while True:
            try:
                # Only after the watch is set: a daemon that started before is found here, a later one by the watch.
                return connect_to_daemon(paths)
            except ForeignServer:
                raise
            except DaemonUnreachable as error:
                # A lack of resources, on either side, ends without an inotify event, so poll.
                if not watch.wait(deadline, look=not isinstance(error, NoDaemon)):
                    raise


class _Watch:
    """Watches for files to appear in their folders or to be written."""

    def __init__(self, files: list[str]) -> None:
        self._names = {os.fsencode(os.path.basename(file)) for file in files}
        self.why_not = ""
        """Why inotify is not available; empty if it is."""
        self._gap_s = FIRST_LOOK_S
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            self.why_not = os.strerror(ctypes.get_errno())
            return
        for folder in {os.path.dirname(file) for file in files}:
            # A folder that does not exist cannot be watched; the daemon that creates it is not waited for.
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
        """Return True when one of the files changed, False at the deadline (time.monotonic).

        `look`: return True also after a polling interval, as always without inotify.
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
