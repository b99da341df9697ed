"""asyncio connection to the daemon. Transports bytes; `session` implements the protocol.

Finding or starting the daemon blocks, so it runs in a thread.
"""

import asyncio
import os
import socket as sockets
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, TypeVar

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
from queuectl_client.errors import DaemonUnreachable, QueuectlError, no_answer
from queuectl_client.paths import resolve, socket_in_use
from queuectl_client.protocol.rpc import Notification
from queuectl_client.session import DEFAULT_PATIENCE_S, RpcSession, Silence, patience_s

T = TypeVar("T")


class AsyncConnection:
    """A connection to the daemon, opened on first use, for any number of tasks of one event loop."""

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

        `notice` is called with a line for the user if a daemon was started, from another thread.
        """
        self._environ = os.environ if environ is None else environ
        self._named = socket
        self._paths = resolve(self._environ, socket=socket)
        self._autostart = autostart
        self._timeout = timeout
        self._notice = notice
        self._session = RpcSession()
        self._wire: _Wire | None = None
        self._connecting = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def server(self) -> Mapping[str, Any]:
        """The daemon's answer to hello; empty before the first answer."""
        return self._session.server

    async def connect(self) -> None:
        """Connect now rather than on the first call. Raise DaemonUnreachable or a subclass."""
        await self._connected(self._reach)

    async def close(self) -> None:
        """Close the connection; the next call opens a new one. Ends its open batches and attached workers."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.end(None)

    async def call(self, method: str, /, **params: Any) -> Any:
        """Return the result of a call. Parameters that are None are left out. Raise QueuectlError or a subclass.

        If the connection is lost before the answer, the call is repeated once the daemon is back, where that is safe;
        otherwise ConnectionLost is raised. Cancelling the task cancels a waiting call; a change may take effect
        nevertheless.
        """
        was_lost = self._wire is not None and self._wire.is_lost
        return await self.run(calling(method, params, self._timeout, was_lost=was_lost))

    async def run(self, steps: Steps[T]) -> T:
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
                go, value = steps.send, await self._result_of(step)
            except BaseException as error:
                go, value = steps.throw, error

    async def stream(self, steps: Steps[None]) -> AsyncIterator[Any]:
        """Run a procedure and yield the items that it emits."""
        go: Callable[[Any], Step] = steps.send
        value = None
        while True:
            try:
                step = go(value)
            except StopIteration:
                return
            if isinstance(step, Emit):
                for item in step.items:
                    yield item
                go, value = steps.send, None
                continue
            try:
                go, value = steps.send, await self._result_of(step)
            except BaseException as error:
                go, value = steps.throw, error

    async def notifications(self) -> AsyncIterator[Notification]:
        """Yield the daemon's notifications after `events.subscribe`; `params` is the map.

        Raise ConnectionLost at the end, DaemonUnreachable if the daemon does not respond.
        """
        wire = await self._connected(self._reach)
        wire.session.check_subscription()
        while True:
            while wire.session.notifications:
                yield wire.session.notifications.popleft()
            await self._with_signs_of_life(wire, wire.notified())

    async def _result_of(self, step: Step) -> Any:
        match step:
            case CallOnce(method, params):
                return await self._result(await self._send(await self._connected(self._reach), method, params))
            case Send(method, params):
                if self._wire is None or self._wire.is_lost:
                    raise self._session.lost("the connection to the daemon is closed")
                return await self._send(self._wire, method, params)
            case Receive(sent):
                return await self._result(sent)
            case Call(method, params):
                return await self.call(method, **params)
            case Reconnect(start):
                return await self._connected(partial(self._reach_again, start=start))
            case OnOwnConnection(steps):
                async with self._another() as another:
                    return await another.run(steps)
        raise TypeError(f"{step} emits items; use stream()")

    async def _send(self, wire: "_Wire", method: str, params: Mapping[str, Any]) -> "_Sent":
        try:
            async with asyncio.timeout(self._timeout):
                msgid = await wire.send(method, params)
        except TimeoutError:
            raise self._silent(self._timeout) from None
        return _Sent(wire, msgid, patience_s(method, params, self._timeout))

    async def _result(self, sent: "_Sent") -> Any:
        if sent.patience is None:
            return await self._with_signs_of_life(sent.wire, sent.wire.result(sent.msgid))
        try:
            async with asyncio.timeout(sent.patience):
                return await sent.wire.result(sent.msgid)
        except TimeoutError:
            raise self._silent(sent.patience) from None

    async def _with_signs_of_life(self, wire: "_Wire", work: Coroutine[Any, Any, Any]) -> Any:
        """Return the result of work that may take as long as a job runs; ping the daemon now and then."""
        now = asyncio.get_running_loop().time
        task = asyncio.ensure_future(work)
        silence = Silence(self._timeout, now())
        try:
            while True:
                left = None if silence.deadline is None else max(0.0, silence.deadline - now())
                if (await asyncio.wait({task}, timeout=left))[0]:
                    return task.result()
                silence.heard(wire.heard_at)
                if silence.deadline is not None and silence.deadline <= now():
                    if not silence.may_ask(now()):
                        raise self._silent(self._timeout)
                    wire.ping()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _another(self) -> "AsyncConnection":
        """Return a new connection with the same options."""
        how: dict[str, Any] = {"autostart": self._autostart, "timeout": self._timeout, "notice": self._notice}
        return AsyncConnection(self._named, environ=self._environ, **how)

    def _silent(self, patience: float | None) -> DaemonUnreachable:
        return no_answer(socket_in_use(self._paths), patience)

    async def _connected(self, reach: Callable[[], sockets.socket]) -> "_Wire":
        async with self._connecting:
            if self._wire is None or self._wire.is_lost:
                try:
                    socket = await asyncio.to_thread(reach)
                except RuntimeError:  # no thread can be started now: block the event loop instead
                    socket = reach()
                self._session = self._session.next()
                loop = asyncio.get_running_loop()
                _, self._wire = await loop.create_unix_connection(lambda: _Wire(self._session), sock=socket)
            return self._wire

    def _reach(self) -> sockets.socket:
        return reach_daemon(self._paths, autostart=self._autostart, environ=self._environ, notice=self._notice)

    def _reach_again(self, *, start: bool) -> sockets.socket:
        from queuectl_client.reconnect import reach_again

        patience = self._timeout if start else None
        return reach_again(
            self._paths, start=start and self._autostart, patience=patience, reach=self._reach, notice=self._notice
        )


class _Sent(NamedTuple):
    """A sent call, and the seconds to wait for its answer."""

    wire: "_Wire"
    msgid: int
    patience: float | None


_LAST_WORDS: Final = 65_536


class _Wire(asyncio.Protocol):
    """One open connection: its session, and the tasks that wait for answers or notifications."""

    def __init__(self, session: RpcSession) -> None:
        self.session = session
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._answers: dict[int, asyncio.Future[None]] = {}
        self._notified = asyncio.Event()
        self._failure: Exception | None = None
        self.heard_at = 0.0
        """Time of the last bytes from the daemon, by the event loop's clock."""
        self._pinged_at = 0.0
        self._may_write = asyncio.Event()
        self._may_write.set()

    @property
    def is_lost(self) -> bool:
        """Whether no call can be made any more."""
        return self._failure is not None

    async def send(self, method: str, params: Mapping[str, Any]) -> int:
        """Send a call; return its id for `result`."""
        await self._may_write.wait()
        if self._failure is not None or self._transport is None:
            raise self.session.lost("the connection to the daemon is closed")
        msgid, data = self.session.call(method, params)
        self._answers[msgid] = self._loop.create_future()
        self._transport.write(data)
        return msgid

    async def result(self, msgid: int) -> Any:
        """Return the result of a sent call. Cancelling the task cancels the call."""
        try:
            await self._answers[msgid]
        except asyncio.CancelledError:
            self.session.forget(msgid)
            if self._failure is None and self._transport is not None:
                self._transport.write(self.session.cancel(msgid))
            raise
        finally:
            self._answers.pop(msgid, None)
        if self._failure is not None and not self.session.has_answer(msgid):
            raise self._failure
        return self.session.take(msgid)

    def ping(self) -> None:
        """Send a ping, unless one is unanswered."""
        if self._pinged_at <= self.heard_at and self._failure is None and self._transport is not None:
            self._pinged_at = self._loop.time()
            self._transport.write(self.session.ping())

    async def notified(self) -> None:
        """Return once there may be a notification. Raise ConnectionLost when there can be no more."""
        if self._failure is not None:
            raise self._failure
        self._notified.clear()
        await self._notified.wait()

    def end(self, failure: Exception | None) -> None:
        """Close the connection and wake all waiting tasks."""
        if self._transport is not None:
            self._transport.close()
        self._fail(failure or self.session.lost("the connection to the daemon was closed"))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self.heard_at = self._loop.time()
        try:
            answered = self.session.receive(data)
        except QueuectlError as error:
            self.end(error)  # not an answer to a call; the rest of the stream is unusable
            return
        for msgid in answered:
            waiting = self._answers.get(msgid)
            if waiting is not None and not waiting.done():
                waiting.set_result(None)
        if self.session.notifications:
            self._notified.set()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None and self._transport is not None:
            # Nothing can be sent any more, but an error that the daemon sent before it closed (such as busy) is unread.
            with suppress(OSError):
                self.data_received(os.read(self._transport.get_extra_info("socket").fileno(), _LAST_WORDS))
        self._fail(self.session.lost("the daemon went away in the middle of the call"))

    def pause_writing(self) -> None:
        self._may_write.clear()

    def resume_writing(self) -> None:
        self._may_write.set()

    def _fail(self, failure: Exception) -> None:
        if self._failure is None:
            self._failure = failure
        for waiting in self._answers.values():
            if not waiting.done():
                waiting.set_result(None)  # `result` raises the failure
        self._notified.set()
        self._may_write.set()
