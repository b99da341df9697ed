"""The daemon's end of a worker connection: credentials, hello, and frames."""

import asyncio
import logging
import os
import socket
import struct
from collections.abc import Mapping
from typing import Any, Final, Protocol, cast

from queuectld.workerwire.frames import PROTOCOL, Frames, WireError, pack

log = logging.getLogger(__name__)

MAX_FRAME_BYTES: Final = 1024 * 1024
"""A frame of a worker: a few outcomes, each with 16 KiB of each stream at most."""
MAX_CONTAINERS: Final = 4096
HELLO_TIMEOUT_S: Final = 10.0
"""A connection without a hello is closed after this time; a worker connects again."""
_UCRED: Final = struct.Struct("3i")


def start_reading(transport: asyncio.Transport) -> bool:
    """Register a new connection with the event loop. Returns False, and logs why, if epoll(7) has no room for it.

    Called in `connection_made`. Otherwise asyncio starts reading later, where the failure would go unnoticed and the
    peer would never be answered.
    """
    transport.pause_reading()
    try:
        transport.resume_reading()
    except OSError as error:
        log.error("cannot register a connection with the event loop: %s", error.strerror)
        return False
    return True


class LinkHandler(Protocol):
    """Receives the frames of worker connections."""

    def frame(self, link: "WorkerLink", kind: str, body: Mapping[str, Any]) -> None:
        """Handle a frame."""
        ...

    def lost(self, link: "WorkerLink") -> None:
        """Handle the end of a connection."""
        ...


class WorkerLink(asyncio.Protocol):
    """One connection. `worker` is the id from its hello, `pid` that of the peer according to the kernel."""

    def __init__(self, client: LinkHandler) -> None:
        self._handler = client
        self._frames = Frames(MAX_FRAME_BYTES, MAX_CONTAINERS)
        self._transport: asyncio.Transport | None = None
        self._has_said_hello = False
        self._deadline: asyncio.TimerHandle | None = None
        self.worker: int | None = None
        self.pid = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Refuse processes of other users (SO_PEERCRED, unix(7))."""
        self._transport = cast(asyncio.Transport, transport)
        try:
            peer = transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        except OSError as error:
            log.warning("refused a worker connection: cannot read its credentials: %s", error.strerror)
            self._transport.abort()
            return
        self.pid, uid, _ = _UCRED.unpack(peer)
        if uid != os.geteuid():
            log.warning("refused a worker connection from user %d", uid)
            self._transport.abort()
            return
        if not start_reading(self._transport):
            self._transport.abort()  # the worker connects again
            return
        self._deadline = asyncio.get_running_loop().call_later(HELLO_TIMEOUT_S, self._hello_timed_out)

    def data_received(self, data: bytes) -> None:
        """Pass on complete frames; close the connection on anything else."""
        try:
            for kind, body in self._frames.feed(data):
                self._require_hello(kind)
                self._handler.frame(self, kind, body)
        except WireError as error:
            log.error("worker connection of pid %d: %s", self.pid, error)
            self.close()
        except (KeyError, TypeError, ValueError) as error:
            # A body with missing or wrong keys; or a bug of ours, which the traceback shows.
            log.error("worker connection of pid %d: malformed frame", self.pid, exc_info=error)
            self.close()

    def connection_lost(self, _exc: Exception | None) -> None:
        """Notify the handler."""
        self._transport = None
        if self._deadline is not None:
            self._deadline.cancel()
        self._handler.lost(self)

    def send(self, kind: str, body: Mapping[str, Any]) -> None:
        """Send a frame; dropped if the connection is closed."""
        if self._transport is not None:
            self._transport.write(pack(kind, body))

    def dismiss(self, hello: Mapping[str, Any]) -> None:
        """Acknowledge and drain a worker that this store does not know."""
        self.send("welcome", {})
        self.send("stored", {"runs": [(outcome["seq"], outcome["run"]) for outcome in hello.get("ended") or ()]})
        self.send("drain", {})

    def close(self) -> None:
        """Close the connection after sending what is buffered."""
        if self._transport is not None:
            self._transport.close()

    def _require_hello(self, kind: str) -> None:
        """Raise WireError unless the first frame is a hello."""
        if self._has_said_hello:
            return
        if kind != "hello":
            raise WireError(f"sent {kind[:20]!r} before hello")
        self._has_said_hello = True
        if self._deadline is not None:
            self._deadline.cancel()

    def _hello_timed_out(self) -> None:
        log.warning("worker connection of pid %d: no hello within %g s", self.pid, HELLO_TIMEOUT_S)
        self.close()


def version_mismatch(worker: str, hello: Mapping[str, Any]) -> str:
    """Describe a difference of protocol versions and which side to upgrade; empty if there is none.

    Worker and daemon then come from different installations.
    """
    protocol = hello.get("protocol")
    if protocol == PROTOCOL:
        return ""
    action = "it ends after its job, and one of this version takes its place"
    if isinstance(protocol, int) and protocol > PROTOCOL:
        action = "the daemon is older than what is installed; upgrade it with: queuectl daemon restart"
    version = hello.get("version")
    return f"worker {worker} (version {version}) speaks protocol {protocol}, this daemon {PROTOCOL}: {action}"
