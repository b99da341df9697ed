"""A connection to the daemon for asyncio. Bytes go out and come in here; what they mean is `session`'s business.

Finding or starting the daemon may take a while and blocks, so it happens in a thread.
"""

import asyncio
import os
import socket as sockets
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

from queuectl_client.autostart import reach_daemon
from queuectl_client.errors import ConnectionLost, QueuectlError, UnknownMethod, no_answer
from queuectl_client.paths import resolve, socket_in_use
from queuectl_client.protocol.rpc import Notification
from queuectl_client.reconnect import Repeats, reach_again
from queuectl_client.session import (
    DEFAULT_PATIENCE_S,
    SIGN_OF_LIFE_S,
    Session,
    is_wait,
    patience_s,
)


class AsyncConnection:
    """A connection to the daemon that opens when it is used, and calls over it, from any task of one loop."""

    def __init__(
        self,
        socket: str | None = None,
        *,
        autostart: bool = True,
        timeout: float | None = DEFAULT_PATIENCE_S,
        notice: Callable[[str], None] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """`socket`: else found as `paths` says. `timeout`: seconds for an answer of a call that waits for nothing.

        `notice` gets a line for people when a daemon had to be started, from another thread.
        """
        self._environ = os.environ if environ is None else environ
        self._paths = resolve(self._environ, socket=socket)
        self._autostart = autostart
        self._timeout = timeout
        self._notice = notice
        self._session = Session()
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
        """What the daemon said of itself in answer to hello; empty before the first answer."""
        return self._session.server

    async def connect(self) -> None:
        """Connect now rather than with the first call. Raises DaemonUnreachable or a subclass of it."""
        await self._connected(self._reach)

    async def close(self) -> None:
        """Close the connection; the next call opens another. Open batches and pools started over it end."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.end(None)

    async def call(self, method: str, /, **params: Any) -> Any:
        """The result of a call. Parameters that are None are left out. Raises QueuectlError or a subclass.

        When the daemon goes away before it has answered, the call is made again, once it is back, provided that does
        no harm; else ConnectionLost. A task that is cancelled while it waits ends a waiting call; a change may have
        been made all the same.
        """
        repeats = Repeats(method, params, self._timeout)
        start = not is_wait(method, params)
        # A daemon that went away while nothing was asked of it is given the same time to come back.
        was_lost = self._wire is not None and self._wire.is_lost
        reach: Callable[[], sockets.socket] = partial(self._reach_again, start=start) if was_lost else self._reach
        while True:
            wire = await self._connected(reach)
            try:
                return await self._call_once(wire, method, repeats.params)
            except ConnectionLost:
                if not repeats.lost(spoke=bool(wire.session.server)):
                    raise
            reach = partial(self._reach_again, start=start)

    async def notifications(self) -> AsyncIterator[Notification]:
        """What the daemon tells after `events.subscribe`, as it comes; `params` is the map.

        Raises ConnectionLost at the end, DaemonUnreachable when the daemon gives no sign of life.
        """
        wire = await self._connected(self._reach)
        wire.session.check_subscription()
        while True:
            while wire.session.notifications:
                yield wire.session.notifications.popleft()
            await self._with_signs_of_life(wire, wire.told())

    async def _call_once(self, wire: "_Wire", method: str, params: Mapping[str, Any]) -> Any:
        patience = patience_s(method, params, self._timeout)
        if patience is None:
            return await self._with_signs_of_life(wire, wire.call(method, params))
        try:
            async with asyncio.timeout(patience):
                return await wire.call(method, params)
        except TimeoutError:
            raise no_answer(socket_in_use(self._paths), patience) from None

    async def _with_signs_of_life(self, wire: "_Wire", work: Coroutine[Any, Any, Any]) -> Any:
        """The result of what may take as long as a job runs; the daemon is asked now and then whether it lives."""
        task = asyncio.ensure_future(work)
        try:
            while not (await asyncio.wait({task}, timeout=None if self._timeout is None else SIGN_OF_LIFE_S))[0]:
                with suppress(UnknownMethod):  # an older daemon lives, too
                    await self._call_once(wire, "ping", {})
            return task.result()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _connected(self, reach: Callable[[], sockets.socket]) -> "_Wire":
        async with self._connecting:
            if self._wire is None or self._wire.is_lost:
                try:
                    socket = await asyncio.to_thread(reach)
                except RuntimeError:  # no thread can be started now: slower for the others of this loop, but it goes on
                    socket = reach()
                self._session = self._session.next()
                loop = asyncio.get_running_loop()
                _, self._wire = await loop.create_unix_connection(lambda: _Wire(self._session), sock=socket)
            return self._wire

    def _reach(self) -> sockets.socket:
        return reach_daemon(self._paths, autostart=self._autostart, environ=self._environ, notice=self._notice)

    def _reach_again(self, *, start: bool) -> sockets.socket:
        patience = self._timeout if start else None
        return reach_again(
            self._paths, start=start and self._autostart, patience=patience, reach=self._reach, notice=self._notice
        )


_LAST_WORDS: Final = 65_536


class _Wire(asyncio.Protocol):
    """One connection: its session, and the tasks that wait for answers or notifications."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._answers: dict[int, asyncio.Future[None]] = {}
        self._told = asyncio.Event()
        self._failure: Exception | None = None
        self._may_write = asyncio.Event()
        self._may_write.set()

    @property
    def is_lost(self) -> bool:
        """Whether nothing can be asked over it any more."""
        return self._failure is not None

    async def call(self, method: str, params: Mapping[str, Any]) -> Any:
        """The result of a call."""
        await self._may_write.wait()
        if self._failure is not None or self._transport is None:
            raise ConnectionLost("the connection to the daemon is closed")
        msgid, data = self.session.call(method, params)
        answered = self._answers[msgid] = self._loop.create_future()
        self._transport.write(data)
        try:
            await answered
        except asyncio.CancelledError:
            self.session.forget(msgid)
            if self._failure is None:
                self._transport.write(self.session.cancel(msgid))
            raise
        finally:
            self._answers.pop(msgid, None)
        return self.session.take(msgid)

    async def told(self) -> None:
        """Return once there may be a notification. Raises ConnectionLost when there can be none any more."""
        if self._failure is not None:
            raise self._failure
        self._told.clear()
        await self._told.wait()

    def end(self, failure: Exception | None) -> None:
        """Close, and tell everybody who waits."""
        if self._transport is not None:
            self._transport.close()
        self._fail(failure or ConnectionLost("the connection to the daemon was closed"))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            answered = self.session.receive(data)
        except QueuectlError as error:
            self.end(error)  # no answer to a call of ours, and nothing sensible comes after it
            return
        for msgid in answered:
            waiting = self._answers.get(msgid)
            if waiting is not None and not waiting.done():
                waiting.set_result(None)
        if self.session.notifications:
            self._told.set()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None and self._transport is not None:
            # Nothing can be sent any more. What the daemon said before it closed (it is full, say) was not read yet.
            with suppress(OSError):
                self.data_received(os.read(self._transport.get_extra_info("socket").fileno(), _LAST_WORDS))
        self._fail(ConnectionLost("the daemon went away in the middle of the call"))

    def pause_writing(self) -> None:
        self._may_write.clear()

    def resume_writing(self) -> None:
        self._may_write.set()

    def _fail(self, failure: Exception) -> None:
        if self._failure is None:
            self._failure = failure
        for waiting in self._answers.values():
            if not waiting.done():
                waiting.set_exception(self._failure)
        self._told.set()
        self._may_write.set()
