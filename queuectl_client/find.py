"""Find and connect to the daemon of this store, and to no other daemon.

Two homes of one user may use the same socket path, the lock left by a killed daemon may name a socket that another
daemon uses by now, and the lock in a copied home names the daemon of the original. Jobs sent there would be stored in
the wrong store.
"""

import os
import select
import socket
import time
from typing import Any, Final

from queuectl_client.connect import open_socket, peer_credentials
from queuectl_client.errors import ConnectionLost, ForeignServer, NoDaemon, from_wire, no_answer
from queuectl_client.paths import Paths, read_lock
from queuectl_client.plainfile import is_locked
from queuectl_client.protocol import rpc

ANSWER_WITHIN_S: Final = 10.0
"""Seconds for a daemon to answer which store it serves."""
_PIECE: Final = 65_536


def connect_to_daemon(paths: Paths) -> socket.socket:
    """Return a connection to the daemon of this store, or to the socket that the user named, whatever its store.

    Raise NoDaemon if none listens or it serves another store; DaemonUnreachable; ForeignServer.
    """
    if paths.explicit_socket:
        return open_socket(paths.socket)
    lock = read_lock(paths.lock)
    path = str(lock.get("socket") or paths.socket)
    try:
        connection = open_socket(path)
    except ForeignServer:
        if path == paths.socket or is_locked(paths.lock):
            raise
        path = paths.socket  # nobody stands behind what the lock says
        connection = open_socket(path)
    wrote_lock = peer_credentials(connection)[0] == lock.get("pid") and lock.get("store") == paths.store
    if wrote_lock or (path == paths.socket and paths.has_own_socket):
        return connection
    if "socket" in lock and is_locked(paths.lock):
        return connection  # socket activation, or another pid namespace
    # The lock is stale or not written yet, or this is another store's daemon. Ask it, over a separate connection: hello
    # must be the first call of one.
    with connection:
        store = _store_of(connection, path)
    if store is not None and os.path.realpath(store) != os.path.realpath(paths.store):
        raise NoDaemon(f"the daemon on {path} serves another store, {store}; none serves {paths.store}")
    return open_socket(path)


def _store_of(connection: socket.socket, path: str) -> str | None:
    """Return the path of the store that the daemon serves; None if it does not tell."""
    deadline = time.monotonic() + ANSWER_WITHIN_S
    decoder = rpc.Decoder()
    poller = select.poll()
    poller.register(connection, select.POLLIN)
    try:
        connection.send(rpc.request(1, "daemon.info", {}))  # fits into the buffer of a new connection
    except OSError:
        pass  # already closed by the daemon; an error that it sent before can still be read
    while (left := deadline - time.monotonic()) > 0 and poller.poll(left * 1000):
        try:
            data = connection.recv(_PIECE)
        except OSError:
            data = b""
        if not data:
            raise NoDaemon(f"the daemon on {path} went away")
        try:
            for message in decoder.feed(data):
                if isinstance(message, rpc.Response):
                    return _store_in(message)
        except rpc.ProtocolError as error:
            raise ConnectionLost(f"the daemon's answer cannot be read: {error.text}") from None
    raise no_answer(path, ANSWER_WITHIN_S)


def _store_in(answer: rpc.Response) -> str | None:
    if answer.error is not None:
        if answer.msgid is None:
            raise from_wire(answer.error)  # such as busy
        return None
    store: Any = answer.result.get("store") if isinstance(answer.result, dict) else None
    return store if isinstance(store, str) else None
