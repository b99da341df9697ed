"""Which daemon is this store's: connecting to it, and to no other that happens to listen where it might.

Two homes of one user may look for their daemons at the same place, and a lock left by a daemon that was killed may
name a socket that another's daemon has by now. What a client sends would be stored in the wrong store.
"""

import os
import select
import socket
import time
from typing import Any, Final

from queuectl_client.connect import open_socket, peer_credentials
from queuectl_client.errors import ConnectionLost, NoDaemon, from_wire, no_answer
from queuectl_client.paths import Paths, read_lock
from queuectl_client.plainfile import is_locked
from queuectl_client.protocol import rpc

ANSWER_WITHIN_S: Final = 10.0
"""How long a daemon may take to say which store it keeps."""
_PIECE: Final = 65_536


def connect_to_daemon(paths: Paths) -> socket.socket:
    """A connection to the daemon of this store, or to the one whose socket the user has named, whatever it keeps.

    Raises NoDaemon when none listens, or one of another store; DaemonUnreachable, ForeignServer.
    """
    if paths.explicit_socket:
        return open_socket(paths.socket)
    lock = read_lock(paths.lock)
    path = str(lock.get("socket") or paths.socket)
    connection = open_socket(path)
    if peer_credentials(connection)[0] == lock.get("pid") or (path == paths.socket and paths.has_own_socket):
        return connection  # who wrote our store's lock is at the other end
    if "socket" in lock and is_locked(paths.lock):
        return connection  # for a service manager has listened in its place, or pids are others in here (a container)
    # A lock that is left over or not written yet, or somebody else's daemon. It has to be asked, over a connection of
    # its own, for `hello` comes first on one.
    with connection:
        store = _store_of(connection, path)
    if store is not None and os.path.realpath(store) != os.path.realpath(paths.store):
        raise NoDaemon(f"the daemon on {path} serves another store, {store}; none serves {paths.store}")
    return open_socket(path)


def _store_of(connection: socket.socket, path: str) -> str | None:
    """The store that the daemon at the other end keeps; None when it does not say."""
    deadline = time.monotonic() + ANSWER_WITHIN_S
    decoder = rpc.Decoder()
    poller = select.poll()
    poller.register(connection, select.POLLIN)
    try:
        connection.send(rpc.request(1, "daemon.info", {}))  # a new connection has room for it
    except OSError:
        pass  # it hung up already: what it said before is still to be read
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
                    return _told(message)
        except rpc.ProtocolError as error:
            raise ConnectionLost(f"the daemon's answer cannot be read: {error.text}") from None
    raise no_answer(path, ANSWER_WITHIN_S)


def _told(answer: rpc.Response) -> str | None:
    if answer.error is not None:
        if answer.msgid is None:
            raise from_wire(answer.error)  # it takes nobody in at the moment
        return None
    store: Any = answer.result.get("store") if isinstance(answer.result, dict) else None
    return store if isinstance(store, str) else None
