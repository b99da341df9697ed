"""All client connections: their limit, and their shutdown when the daemon ends."""

import asyncio
import logging
import socket
from contextlib import suppress
from typing import Final

from queuectl_client.protocol.rpc import error_response
from queuectl_client.protocol.vocabulary import ErrorCode
from queuectld.scheduler.service import Service
from queuectld.server.connection import Connection
from queuectld.server.peercred import rejection_reason

log = logging.getLogger(__name__)

SILENT_S: Final = 30.0
"""A client that has sent no message for so long may be closed to admit another one."""
HALF_MESSAGES_BYTES: Final = 64 * 1024 * 1024
"""Total size of incomplete messages. Each takes up to three times its size in memory while it grows."""


class Connections:
    """Owns every client connection from accept to close."""

    def __init__(self, service: Service, max_connections: int) -> None:
        self._service = service
        self._max_connections = max_connections
        self._loop = asyncio.get_running_loop()
        self._since: dict[Connection, float] = {}
        """Event loop time at which each connected, oldest first."""
        self._opening: set[asyncio.Task[object]] = set()
        self._half_bytes = 0
        self._empty = asyncio.Event()
        self.is_closing = False

    def admit(self, client: socket.socket) -> None:
        """Admit a client. Other users are refused before a byte is read; above the limit an error is sent."""
        if (why := rejection_reason(client)) is not None:
            log.warning("refused a client: %s", why)
            client.close()
            return
        if len(self._since) >= self._max_connections and not self._make_room():
            text = f"{self._max_connections} clients are connected already; try again later"
            with suppress(OSError):  # gone already
                client.send(error_response(None, ErrorCode.BUSY, text, plain=True))
            client.close()
            return
        connection = Connection(self._service, self)
        self._since[connection] = self._loop.time()
        opening = self._loop.create_task(self._loop.connect_accepted_socket(lambda: connection, client))
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)

    def half_messages(self, change: int) -> bool:
        """See `connection.ConnectionRegistry`."""
        self._half_bytes += change
        return self._half_bytes <= HALF_MESSAGES_BYTES

    def connection_closed(self, connection: Connection) -> None:
        """See `connection.ConnectionRegistry`."""
        self._since.pop(connection, None)
        if not self._since:
            self._empty.set()

    async def close_all(self, deadline_s: float) -> None:
        """Send the pending answers and close every connection, forcibly after `deadline_s` seconds."""
        self.is_closing = True
        for connection in list(self._since):
            connection.finish()
        if not self._since:
            return
        self._empty.clear()
        try:
            await asyncio.wait_for(self._empty.wait(), deadline_s)
        except TimeoutError:
            log.warning("closed %d clients that had not read their answers", len(self._since))
            for connection in list(self._since):
                connection.abort()

    def _make_room(self) -> bool:
        """Close the oldest connection without a message, if older than SILENT_S. Returns whether there was one."""
        before = self._loop.time() - SILENT_S
        for connection, since in self._since.items():
            if since > before:
                return False
            if connection.is_silent:
                self.connection_closed(connection)
                connection.abort()
                return True
        return False
