"""A daemon as small as a test of the client needs it: the real wire on a real Unix socket, answers by a table."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from queuectl_client.protocol import rpc
from queuectl_client.protocol.rpc import Decoder, Request

Answer = Callable[[dict[str, Any]], Any]


class Vanish(Exception):
    """Raised by an answer: the server closes the connection instead."""


class Silent(Exception):
    """Raised by an answer: none is sent."""


class Refuse(Exception):
    """Raised by an answer: an error, with its code, message and data."""


class FakeServer:
    """Answers on `path` until it is stopped, each connection in a thread. What it is asked is in `calls`, in order."""

    def __init__(self, path: Path, **answers: Answer) -> None:
        self.path = path
        self.answers: dict[str, Answer] = {"hello": lambda _: {"protocol": rpc.PROTOCOL_VERSION}}
        self.answers |= {name.replace("__", "."): answer for name, answer in answers.items()}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.told: list[rpc.Notification] = []
        self.connected = 0
        """How many connections there are."""
        self._connections: list[socket.socket] = []
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = None

    def __enter__(self) -> "FakeServer":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen."""
        self.path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._run(self._accept, self._listener)

    def stop(self) -> None:
        """Be gone: nobody listens, all connections are closed."""
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        self.hang_up()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()
        self._threads.clear()

    def hang_up(self) -> None:
        """Close all connections, and go on listening."""
        for connection in self._connections:
            self._shut(connection)
        self._connections.clear()

    def tell(self, method: str, params: dict[str, Any]) -> None:
        """Send a notification to everybody connected."""
        for connection in self._connections:
            connection.sendall(rpc.notification(method, params))

    def methods(self) -> list[str]:
        """What it was asked, but for hello."""
        return [method for method, _ in self.calls if method != "hello"]

    def _run(self, work: Callable[[socket.socket], None], end: socket.socket) -> None:
        thread = threading.Thread(target=work, args=(end,), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            self._run(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        decoder = Decoder()
        with connection, self._counted():
            try:
                while data := connection.recv(65536):
                    for message in decoder.feed(data):
                        if isinstance(message, Request):
                            self._answer(connection, message)
                        elif isinstance(message, rpc.Notification):
                            self.told.append(message)
            except (Vanish, OSError):
                self._shut(connection)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._lock:
            self.connected += 1
        try:
            yield
        finally:
            with self._lock:
                self.connected -= 1

    def _answer(self, connection: socket.socket, call: Request) -> None:
        params = rpc.params_of(call.params)
        self.calls.append((call.method, params))
        try:
            answer = self.answers.get(call.method, lambda _: {})(params)
        except Silent:
            return
        except Refuse as error:
            connection.sendall(rpc.error_response(call.msgid, *error.args))
            return
        connection.sendall(rpc.response(call.msgid, answer))

    @staticmethod
    def _shut(connection: socket.socket) -> None:
        try:
            connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the other end was first
