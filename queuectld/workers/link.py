"""The daemon's end of one worker's connection: bytes to frames, and who is at the other end."""

import asyncio
import logging
import os
import socket
import struct
from collections.abc import Mapping
from typing import Any, Protocol, cast

from queuectld.workers.wire import Frames, WireError, pack

log = logging.getLogger(__name__)

_UCRED = struct.Struct("3i")


class LinkOwner(Protocol):
    """Who is told what comes in."""

    def frame(self, link: "WorkerLink", kind: str, body: Mapping[str, Any]) -> None:
        """A frame has come."""
        ...

    def lost(self, link: "WorkerLink") -> None:
        """The connection is closed."""
        ...


class WorkerLink(asyncio.Protocol):
    """One connection. `worker` is the id it said in its hello; `pid` is what the kernel says of the other end."""

    def __init__(self, owner: LinkOwner) -> None:
        self._owner = owner
        self._frames = Frames()
        self._transport: asyncio.Transport | None = None
        self.worker: int | None = None
        self.pid = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let nobody in but processes of this user (SO_PEERCRED, unix(7))."""
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        self.pid, uid, _ = _UCRED.unpack(peer)
        if uid != os.geteuid():
            log.warning("refused a worker connection of user %d", uid)
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Pass on whole frames; a peer that sends anything else is cut off."""
        try:
            for kind, body in self._frames.feed(data):
                self._owner.frame(self, kind, body)
        except WireError as error:
            log.error("worker connection of pid %d: %s", self.pid, error)
            self.close()

    def connection_lost(self, _exc: Exception | None) -> None:
        """Tell the owner once."""
        self._transport = None
        self._owner.lost(self)

    def send(self, kind: str, body: Mapping[str, Any]) -> None:
        """Send a frame, if there still is somebody to send it to."""
        if self._transport is not None:
            self._transport.write(pack(kind, body))

    def close(self) -> None:
        """Close the connection; what was sent still goes out."""
        if self._transport is not None:
            self._transport.close()
