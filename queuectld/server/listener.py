"""Accepts clients, and binds the socket again if its file was removed.

Owns the listening sockets from `serve` to `close`, but not accepted connections.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from queuectld.server.filewatch import FileWatch
from queuectld.server.socketfile import BoundSocket, SocketRefused, bind, file_id, unlink

log = logging.getLogger(__name__)

ACCEPTS_AT_A_TIME: Final = 64
"""Accepted in one callback, so that connected clients get their turn."""

RETRY_S: Final = 0.5
"""Delay after an error that may persist, such as EMFILE; retrying at once would spin."""

FIRST_RETRY_S: Final = 0.5
LAST_RETRY_S: Final = 30.0
"""The delay between attempts to bind again grows from the first to the last."""


class Listener:
    """Passes every accepted socket to `admit`."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, sockets: Sequence[BoundSocket], admit: Callable[[socket.socket], None]
    ) -> None:
        self._loop = loop
        self._sockets = list(sockets)
        self._admit = admit
        self._watch = FileWatch(loop, self.bind_lost_again)
        self._retry_s = FIRST_RETRY_S
        self._timer: asyncio.TimerHandle | None = None

    def serve(self, lock: Path) -> None:
        """Start accepting. Touching the file `lock` makes the daemon check its socket."""
        for bound in self._sockets:
            self._open(bound)
        self._watch.add(lock)

    def close(self) -> None:
        """Stop accepting, and remove the socket files that this process made."""
        self._watch.close()
        if self._timer is not None:
            self._timer.cancel()
        for bound in self._sockets:
            # Unlink first: a new client then finds no socket, rather than one that closes.
            unlink(bound)
            self._loop.remove_reader(bound.listening)
            bound.listening.close()
        self._sockets.clear()

    def bind_lost_again(self) -> None:
        """Bind the sockets again whose file was removed or replaced."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for position, bound in enumerate(self._sockets):
            if file_id(bound.path) != bound.file:
                self._sockets[position] = self._bind_again(bound)

    def _bind_again(self, lost: BoundSocket) -> BoundSocket:
        try:
            bound = bind(lost.path)
        except SocketRefused as refused:
            log.warning("the socket was removed and cannot be bound again yet: %s", refused)
            self._timer = self._loop.call_later(self._retry_s, self.bind_lost_again)
            self._retry_s = min(self._retry_s * 2, LAST_RETRY_S)
            return lost
        log.warning("the socket was removed; bound it again: %s", bound.path)
        self._retry_s = FIRST_RETRY_S
        # Accept the clients that still wait in the old backlog.
        self._accept(lost.listening)
        self._loop.remove_reader(lost.listening)
        lost.listening.close()
        self._open(bound)
        return bound

    def _open(self, bound: BoundSocket) -> None:
        self._loop.add_reader(bound.listening, self._accept, bound.listening)
        self._watch.add(bound.path)
        self._watch.add(bound.path.parent)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(ACCEPTS_AT_A_TIME):
            try:
                client, _address = listening.accept()
            except (BlockingIOError, ConnectionAbortedError, InterruptedError):
                return
            except OSError as error:
                log.error("cannot accept a client: %s", error.strerror)
                self._loop.remove_reader(listening)
                self._loop.call_later(RETRY_S, self._accept_again, listening)
                return
            client.setblocking(False)
            self._admit(client)

    def _accept_again(self, listening: socket.socket) -> None:
        if any(bound.listening is listening for bound in self._sockets):
            try:
                self._loop.add_reader(listening, self._accept, listening)
            except OSError as error:
                log.error("cannot accept clients: %s", error.strerror)
                self._loop.call_later(RETRY_S, self._accept_again, listening)
