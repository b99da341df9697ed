"""The daemon's end of one worker's connection: bytes to frames, and who is at the other end."""

import asyncio
import logging
import os
import socket
import struct
from collections.abc import Mapping
from typing import Any, Final, Protocol, cast

from queuectld.workerwire.frames import Frames, WireError, pack

log = logging.getLogger(__name__)

MAX_FRAME_BYTES: Final = 1024 * 1024
"""A frame of a worker: a few outcomes, each with 16 KiB of each stream at most."""
MAX_CONTAINERS: Final = 4096
HELLO_TIMEOUT_S: Final = 10.0
"""After that a connection that has not said who it is gives its descriptor back; a worker connects again."""
_UCRED: Final = struct.Struct("3i")


def start_reading(transport: asyncio.Transport) -> bool:
    """Whether the loop can watch a new connection; False, and logged, when the system has no room for it (epoll(7)).

    Called in `connection_made`. By itself asyncio begins to read only later, where nobody hears that it could not: the
    peer would be taken in, and never be answered.
    """
    transport.pause_reading()
    try:
        transport.resume_reading()
    except OSError as error:
        log.error("cannot take in a connection: %s", error.strerror)
        return False
    return True


class LinkHandler(Protocol):
    """Who is told what comes in."""

    def frame(self, link: "WorkerLink", kind: str, body: Mapping[str, Any]) -> None:
        """A frame has come."""
        ...

    def lost(self, link: "WorkerLink") -> None:
        """The connection is closed."""
        ...


class WorkerLink(asyncio.Protocol):
    """One connection. `worker` is the id it said in its hello; `pid` is what the kernel says of the other end."""

    def __init__(self, client: LinkHandler) -> None:
        self._handler = client
        self._frames = Frames(MAX_FRAME_BYTES, MAX_CONTAINERS)
        self._transport: asyncio.Transport | None = None
        self._has_said_hello = False
        self._deadline: asyncio.TimerHandle | None = None
        self.worker: int | None = None
        self.pid = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let nobody in but processes of this user (SO_PEERCRED, unix(7))."""
        self._transport = cast(asyncio.Transport, transport)
        try:
            peer = transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        except OSError as error:
            log.warning("refused a worker connection: who it is cannot be told: %s", error.strerror)
            self._transport.abort()
            return
        self.pid, uid, _ = _UCRED.unpack(peer)
        if uid != os.geteuid():
            log.warning("refused a worker connection of user %d", uid)
            self._transport.abort()
            return
        if not start_reading(self._transport):
            self._transport.abort()  # the worker connects again
            return
        self._deadline = asyncio.get_running_loop().call_later(HELLO_TIMEOUT_S, self._hello_timed_out)

    def data_received(self, data: bytes) -> None:
        """Pass on whole frames; a peer that sends anything else is cut off."""
        try:
            for kind, body in self._frames.feed(data):
                self._require_hello(kind)
                self._handler.frame(self, kind, body)
        except WireError as error:
            log.error("worker connection of pid %d: %s", self.pid, error)
            self.close()
        except (KeyError, TypeError, ValueError) as error:
            # A body without the keys of its kind. Where the fault is ours, the traceback says so.
            log.error("worker connection of pid %d: a frame that cannot be read", self.pid, exc_info=error)
            self.close()

    def connection_lost(self, _exc: Exception | None) -> None:
        """Tell the owner once."""
        self._transport = None
        if self._deadline is not None:
            self._deadline.cancel()
        self._handler.lost(self)

    def send(self, kind: str, body: Mapping[str, Any]) -> None:
        """Send a frame, if there still is somebody to send it to."""
        if self._transport is not None:
            self._transport.write(pack(kind, body))

    def dismiss(self, hello: Mapping[str, Any]) -> None:
        """It is a worker this store knows nothing of: what it did is of no use, and it may end."""
        self.send("welcome", {})
        self.send("stored", {"runs": [(outcome["seq"], outcome["run"]) for outcome in hello.get("ended") or ()]})
        self.send("drain", {})

    def close(self) -> None:
        """Close the connection; what was sent still goes out."""
        if self._transport is not None:
            self._transport.close()

    def _require_hello(self, kind: str) -> None:
        """The first frame says who it is. Raises WireError for any other."""
        if self._has_said_hello:
            return
        if kind != "hello":
            raise WireError(f"it says {kind[:20]!r} before hello")
        self._has_said_hello = True
        if self._deadline is not None:
            self._deadline.cancel()

    def _hello_timed_out(self) -> None:
        log.warning("worker connection of pid %d: nothing came of it within %g s", self.pid, HELLO_TIMEOUT_S)
        self.close()
