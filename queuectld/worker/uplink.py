"""The worker's connection to the daemon: connect, send, receive, reconnect.

On any error except EAGAIN the worker reconnects. Frames in flight are lost; the next hello contains the current run and
the unacknowledged outcomes.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import time

from queuectld.workerwire.frames import Frames, WireError, pack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Final

    from queuectld.worker.loop import Loop

FIRST_GAP_SECONDS: Final = 0.05
LONGEST_GAP_SECONDS: Final = 2.0
WELCOME_SECONDS: Final = 10.0
"""If the hello is not answered within this time, the worker reconnects: the daemon may have lost the connection."""
RECEIVE_BYTES: Final = 32 * 1024
"""Small enough for malloc without a system call; larger frames arrive in parts."""
_UCRED: Final = struct.Struct("3i")
_LONGEST_PATH: Final = 107
"""`sun_path` has 108 bytes, one of them for the NUL (unix(7))."""


class Uplink:
    """One connection at a time. `connected` and `frame` are called from the loop, `lost` once per lost connection."""

    def __init__(
        self,
        loop: Loop,
        path: str,
        *,
        connected: Callable[[], None],
        frame: Callable[[str, dict[str, Any]], None],
        lost: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._path = path
        self._connected = connected
        self._frame = frame
        self._lost = lost
        self._socket: socket.socket | None = None
        self._frames = Frames()
        self._unsent = bytearray()
        self._gap = FIRST_GAP_SECONDS

    @property
    def is_up(self) -> bool:
        """Whether it is connected; the loss of a connection may not be known yet."""
        return self._socket is not None

    @property
    def has_unsent(self) -> bool:
        """Whether frames are still buffered."""
        return bool(self._unsent)

    def connect(self) -> None:
        """Connect now, and on failure retry at intervals that grow to LONGEST_GAP_SECONDS."""
        end = _connect(self._path)
        if end is None:
            self._loop.at("connect", time.monotonic() + self._gap, self.connect)
            self._gap = min(self._gap * 2, LONGEST_GAP_SECONDS)
            return
        self._socket = end
        self._frames = Frames()
        self._loop.watch(end.fileno(), self._ready)
        self._loop.at("silent", time.monotonic() + WELCOME_SECONDS, self._break)
        self._connected()

    def send(self, kind: str, body: Mapping[str, Any]) -> None:
        """Send or buffer a frame; without a connection it is dropped, as the next hello contains the state."""
        if self._socket is None:
            return
        data = pack(kind, body)
        if self._unsent:
            self._unsent += data
            return
        self._write(data)

    def close(self) -> None:
        """Close the connection and do not reconnect."""
        for key in ("connect", "lost"):
            self._loop.cancel(key)
        self._drop()

    def _write(self, data: bytes | bytearray) -> None:
        assert self._socket is not None
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._break()
            return
        if sent < len(data):
            self._unsent = bytearray(memoryview(data)[sent:])
            self._loop.watch(self._socket.fileno(), self._ready, select.POLLIN | select.POLLOUT)

    def _ready(self, events: int) -> None:
        if events & select.POLLOUT and self._unsent and self._socket is not None:
            self._flush()
        if events & ~select.POLLOUT and self._socket is not None:
            self._receive(self._socket)

    def _flush(self) -> None:
        assert self._socket is not None
        data, self._unsent = self._unsent, bytearray()
        self._loop.watch(self._socket.fileno(), self._ready)
        self._write(data)

    def _receive(self, end: socket.socket) -> None:
        try:
            data = end.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._break()
            return
        try:
            for kind, body in self._frames.feed(data):
                self._gap = FIRST_GAP_SECONDS
                self._loop.cancel("silent")
                self._frame(kind, body)
                if self._socket is not end:
                    return
        except (OSError, WireError):
            # An invalid frame, or one that failed, as for lack of descriptors: the daemon repeats it after the hello.
            self._break()

    def _break(self) -> None:
        """Drop the connection. `lost` is called later, from the loop, since the caller of `send` is not reentrant."""
        self._drop()
        now = time.monotonic()
        self._loop.at("lost", now, self._lost)
        self._loop.at("connect", now + self._gap, self.connect)
        self._gap = min(self._gap * 2, LONGEST_GAP_SECONDS)

    def _drop(self) -> None:
        self._loop.cancel("silent")
        if self._socket is not None:
            self._loop.unwatch(self._socket.fileno())
            self._socket.close()
            self._socket = None
        self._unsent = bytearray()


def _connect(path: str) -> socket.socket | None:
    """Connect to a listener of the same user. Return None if there is none, or on a lack of resources."""
    try:
        end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    except OSError:
        return None
    with contextlib.suppress(OSError):
        end.setblocking(False)
        _connect_to(end, path)
        _, uid, _ = _UCRED.unpack(end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
        if uid == os.geteuid():
            return end
    end.close()
    return None


def _connect_to(end: socket.socket, path: str) -> None:
    if len(os.fsencode(path)) <= _LONGEST_PATH:
        end.connect(path)
        return
    folder = os.open(os.path.dirname(path), os.O_PATH | os.O_CLOEXEC)
    try:
        end.connect(f"/proc/self/fd/{folder}/{os.path.basename(path)}")
    finally:
        os.close(folder)
