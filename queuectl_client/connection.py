"""Blocking connection to the daemon, opened on first use.

Transports bytes; `session` implements the protocol, `client` the verbs. Not thread-safe: each thread needs its own.
"""

import os
import select
import socket as sockets
import time
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from queuectl_client.autostart import reach_daemon
from queuectl_client.calls import (
    Call,
    CallOnce,
    Emit,
    OnOwnConnection,
    Receive,
    Reconnect,
    Send,
    Step,
    Steps,
    calling,
)
from queuectl_client.errors import ConnectionLost, DaemonUnreachable, QueuectlError, no_answer
from queuectl_client.paths import resolve, socket_in_use
from queuectl_client.protocol.rpc import Notification
from queuectl_client.session import DEFAULT_PATIENCE_S, RpcSession, Silence, patience_s

T = TypeVar("T")

_PIECE: Final = 256 * 1024


class Connection:
    """A blocking connection to the daemon, opened on first use."""

    def __init__(
        self,
        socket: str | None = None,
        *,
        autostart: bool = True,
        timeout: float | None = DEFAULT_PATIENCE_S,
        notice: Callable[[str], None] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """`socket`: path; default: see `paths`. `timeout`: seconds to wait for the answer of a non-waiting call.

        `notice` is called with a line for the user if a daemon was started.
        """
        self._environ = os.environ if environ is None else environ
        self._named = socket
        self._paths = resolve(self._environ, socket=socket)
        self._autostart = autostart
        self._timeout = timeout
        self._notice = notice
        self._socket: sockets.socket | None = None
        self._session = RpcSession()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    @property
    def server(self) -> Mapping[str, Any]:
        """The daemon's answer to hello; empty before the first answer."""
        return self._session.server

    def connect(self) -> None:
        """Connect now rather than on the first call. Raise DaemonUnreachable or a subclass."""
        if self._socket is None:
            self._attach(self._reach())

    def close(self) -> None:
        """Close the connection; the next call opens a new one. Ends its open batches and attached workers."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def call(self, method: str, /, **params: Any) -> Any:
        """Return the result of a call. Parameters that are None are left out. Raise QueuectlError or a subclass.

        If the connection is lost before the answer, the call is repeated once the daemon is back, where that is safe;
        otherwise ConnectionLost is raised, and it is not known whether the call took effect.
        """
        return self.run(calling(method, params, self._timeout, was_lost=self._was_lost()))

    def run(self, steps: Steps[T]) -> T:
        """Run a procedure (see `calls`) and return its result."""
        go: Callable[[Any], Step] = steps.send
        value = None
        while True:
            try:
                step = go(value)
            except StopIteration as end:
                result: T = end.value
                return result
            try:
                go, value = steps.send, self._result_of(step)
            except BaseException as error:
                go, value = steps.throw, error

    def stream(self, steps: Steps[None]) -> Iterator[Any]:
        """Run a procedure and yield the items that it emits."""
        go: Callable[[Any], Step] = steps.send
        value = None
        while True:
            try:
                step = go(value)
            except StopIteration:
                return
            if isinstance(step, Emit):
                yield from step.items
                go, value = steps.send, None
                continue
            try:
                go, value = steps.send, self._result_of(step)
            except BaseException as error:
                go, value = steps.throw, error

    def send(self, method: str, params: Mapping[str, Any]) -> int:
        """Send a call without waiting; return its id for `result`. Calls take effect in sending order."""
        self.connect()
        msgid, data = self._session.call(method, params)
        self._send_all(data)
        return msgid

    def result(self, msgid: int, patience: float | None = DEFAULT_PATIENCE_S) -> Any:
        """Return the result of a sent call; wait at most `patience` seconds (None: without limit).

        Raise the call's error, ConnectionLost, or DaemonUnreachable if the daemon does not respond. With a patience
        of None the daemon is pinged, and does not respond if a ping is unanswered for `timeout` seconds.
        """
        deadline = None if patience is None else time.monotonic() + patience
        while not self._session.has_answer(msgid):
            if not self._session.is_asked(msgid):
                raise ConnectionLost("the call went out over a connection that was lost")
            if not self._hear(deadline):
                self._session.forget(msgid)
                raise self._silent(self._timeout if patience is None else patience)
        return self._session.take(msgid)

    def cancel_call(self, msgid: int) -> None:
        """Cancel a waiting call that was sent. Its result must still be taken with `result`."""
        self._send_all(self._session.cancel(msgid))

    def notifications(self) -> Iterator[Notification]:
        """Yield the daemon's notifications after `events.subscribe`; `params` is the map.

        Raise ConnectionLost at the end, DaemonUnreachable if the daemon does not respond.
        """
        while True:
            self._session.check_subscription()
            while self._session.notifications:
                yield self._session.notifications.popleft()
            if not self._hear(None):
                raise self._silent(self._timeout)

    def drop_notifications(self, until: float) -> None:
        """Receive and discard notifications until then (time.monotonic). Raise ConnectionLost."""
        while self._receive(until):
            self._session.notifications.clear()
        self._session.notifications.clear()

    def _result_of(self, step: Step) -> Any:
        match step:
            case CallOnce(method, params):
                return self.result(self.send(method, params), patience_s(method, params, self._timeout))
            case Send(method, params):
                if self._socket is None:
                    raise self._session.lost("the connection to the daemon is closed")
                return self.send(method, params), patience_s(method, params, self._timeout)
            case Receive(sent):
                return self.result(*sent)
            case Call(method, params):
                return self.call(method, **params)
            case Reconnect(start):
                return self._attach(self._reach_again(start=start))
            case OnOwnConnection(steps):
                with self._another() as another:
                    return another.run(steps)
        raise TypeError(f"{step} emits items; use stream()")

    def _another(self) -> "Connection":
        """Return a new connection with the same options."""
        how: dict[str, Any] = {"autostart": self._autostart, "timeout": self._timeout, "notice": self._notice}
        return Connection(self._named, environ=self._environ, **how)

    def _reach(self) -> sockets.socket:
        return reach_daemon(self._paths, autostart=self._autostart, environ=self._environ, notice=self._notice)

    def _reach_again(self, *, start: bool) -> sockets.socket:
        from queuectl_client.reconnect import reach_again

        patience = self._timeout if start else None
        return reach_again(
            self._paths, start=start and self._autostart, patience=patience, reach=self._reach, notice=self._notice
        )

    def _attach(self, socket: sockets.socket) -> None:
        self.close()
        self._socket = socket
        self._session = self._session.next()

    def _was_lost(self) -> bool:
        """Return whether the connection was lost while idle, so that nothing is sent over a dead one."""
        if self._socket is None:
            return False
        try:
            while self._ready(select.POLLIN, 0):
                self._take_in()
        except ConnectionLost:
            return True
        return False

    def _send_all(self, data: bytes) -> None:
        """Send the data, receiving meanwhile: the daemon stops reading while its answers are not read."""
        left = memoryview(data)
        deadline = None if self._timeout is None else time.monotonic() + self._timeout
        while left:
            try:
                left = left[self._open_socket.send(left) :]
                continue
            except BlockingIOError:
                pass
            except OSError:
                raise self._hung_up() from None
            ready = self._ready(select.POLLIN | select.POLLOUT, deadline)
            if not ready:
                self.close()  # part of a message was sent, so nothing else can be
                raise self._silent(self._timeout)
            if ready & select.POLLIN:
                self._take_in()

    def _hear(self, deadline: float | None) -> bool:
        """Receive; return False at the deadline or, without one, if the daemon does not respond."""
        if deadline is not None:
            return self._receive(deadline)
        silence = Silence(self._timeout, time.monotonic())
        while not self._receive(silence.deadline):
            if not silence.may_ask(time.monotonic()):
                return False
            self._send_all(self._session.ping())
        return True

    def _receive(self, deadline: float | None) -> bool:
        """Wait for bytes and receive them; return False at the deadline. Raise ConnectionLost at the end."""
        if not self._ready(select.POLLIN, deadline):
            return False
        self._take_in()
        return True

    def _take_in(self) -> None:
        try:
            data = self._open_socket.recv(_PIECE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            raise self._lost()
        try:
            self._session.receive(data)
        except QueuectlError:
            self.close()  # not an answer to a call; the rest of the stream is unusable
            raise

    def _ready(self, events: int, deadline: float | None) -> int:
        poller = select.poll()
        poller.register(self._open_socket, events)
        wait_ms = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
        try:
            found = poller.poll(wait_ms)
        except OSError:  # out of memory
            raise self._lost() from None
        return found[0][1] if found else 0

    @property
    def _open_socket(self) -> sockets.socket:
        if self._socket is None:
            raise ConnectionLost("the connection to the daemon is closed")
        return self._socket

    def _hung_up(self) -> QueuectlError:
        """Return the error that the daemon sent before it closed (such as busy), or ConnectionLost."""
        try:
            while self._ready(select.POLLIN, 0):
                self._take_in()
        except QueuectlError as error:
            return error
        return self._lost()

    def _lost(self) -> ConnectionLost:
        self.close()
        return self._session.lost("the daemon went away in the middle of the call")

    def _silent(self, patience: float | None) -> DaemonUnreachable:
        return no_answer(socket_in_use(self._paths), patience)
