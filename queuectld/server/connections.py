"""All clients together: how many there may be, and how they are closed when the daemon ends."""

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
"""A client that has said nothing for so long gives way when its place is needed."""
HALF_MESSAGES_BYTES: Final = 64 * 1024 * 1024
"""What half messages of all clients may hold together. In memory each is there up to three times while it grows."""


class Connections:
    """Owns every connection from its accept to its end."""

    def __init__(self, service: Service, max_connections: int) -> None:
        self._service = service
        self._max_connections = max_connections
        self._loop = asyncio.get_running_loop()
        self._since: dict[Connection, float] = {}
        """When each came, in the loop's time; the oldest first."""
        self._opening: set[asyncio.Task[object]] = set()
        self._half_bytes = 0
        self._empty = asyncio.Event()
        self.is_closing = False

    def admit(self, client: socket.socket) -> None:
        """Take a client in, or send it away: another user's before a byte is read, one too many with an error."""
        if (why := rejection_reason(client)) is not None:
            log.warning("a client was turned away: %s", why)
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
        """Answer what was accepted and close every connection; after `deadline_s` seconds without waiting for it."""
        self.is_closing = True
        for connection in list(self._since):
            connection.finish()
        if not self._since:
            return
        self._empty.clear()
        try:
            await asyncio.wait_for(self._empty.wait(), deadline_s)
        except TimeoutError:
            log.warning("%d clients had not read their answers when the daemon ended", len(self._since))
            for connection in list(self._since):
                connection.abort()

    def _make_room(self) -> bool:
        """Close the client that has been here longest without a word, if it has been so for SILENT_S."""
        before = self._loop.time() - SILENT_S
        for connection, since in self._since.items():
            if since > before:
                return False
            if connection.is_silent:
                self.connection_closed(connection)
                connection.abort()
                return True
        return False
