"""The calls of one client: hello, order, answers, cancellation. Does no I/O.

Every call gets exactly one answer, unless the client has disconnected.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final, Protocol

from queuectl_client.protocol import rpc
from queuectl_client.protocol.messages import REQUESTS, BadParams, EventsSubscribe, Hello
from queuectl_client.protocol.methods import METHODS, Effect
from queuectl_client.protocol.vocabulary import ErrorCode
from queuectld import __version__
from queuectld.domain.errors import Refused
from queuectld.scheduler.bus import EventFilter
from queuectld.scheduler.service import Service
from queuectld.server.call_scheduler import CallScheduler
from queuectld.server.feed import EventFeed
from queuectld.server.route import OpenBatch, Route
from queuectld.server.router import WireError, find_route, wire_error

MAX_OWED: Final = 256
"""Pending calls of one connection; at the limit, the connection is not read."""
MAX_OWED_BYTES: Final = 16 * 1024 * 1024
"""Total size of these calls: two messages of maximum size, or many small ones."""
MAX_WAITS: Final = 1024
MAX_WAIT_BYTES: Final = MAX_OWED_BYTES
"""Waiting calls have their own limits, so that a client with many of them can still cancel one."""
CAPABILITIES: Final = ("batch", "cancel", "events")


class ClientTransport(Protocol):
    """The part of the connection that a session uses."""

    def send(self, frame: bytes) -> None:
        """Send a frame, or drop it if the client has disconnected."""
        ...

    def may_send(self) -> bool:
        """Whether the client keeps up reading."""
        ...

    def call_ended(self) -> None:
        """A call was answered: there may be room for the next one."""
        ...

    def finish(self) -> None:
        """Close after the pending answers are sent."""
        ...


class Call:
    """One call that is not answered yet."""

    __slots__ = ("cancelled", "effect", "method", "msgid", "params", "route", "size", "task")

    def __init__(
        self, msgid: int, method: str, route: Route, effect: Effect, params: Mapping[str, Any], size: int
    ) -> None:
        self.msgid = msgid
        self.method = method
        self.route = route
        self.effect = effect
        self.params = params
        self.size = size
        self.task: asyncio.Task[None] | None = None
        self.cancelled = False


class ClientSession:
    """The calls of one client. It also identifies the client of foreground workers: they drain when it closes."""

    def __init__(self, service: Service, transport: ClientTransport) -> None:
        self._service = service
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._scheduler: CallScheduler[Call] = CallScheduler(self._start, transport.may_send)
        self._background: set[asyncio.Task[Any]] = set()
        """The event loop keeps only weak references to tasks."""
        self._waiting: dict[int, Call] = {}
        self._owed_bytes = 0
        self._wait_bytes = 0
        self._feed: EventFeed | None = None
        self._has_spoken = False
        self.said_hello = False
        self.batches: dict[str, OpenBatch] = {}
        """See `route.Caller`."""

    @property
    def has_room(self) -> bool:
        """Whether another message may be read."""
        return self._scheduler.owed < MAX_OWED and self._owed_bytes < MAX_OWED_BYTES

    @property
    def is_owed(self) -> bool:
        """Whether calls other than waiting ones are pending."""
        return self._scheduler.owed > 0

    @property
    def has_spoken(self) -> bool:
        """Whether a complete message was received."""
        return self._has_spoken

    def receive(self, message: rpc.Message, size: int) -> None:
        """Handle a message of `size` bytes. Responses and unknown notifications are ignored."""
        if isinstance(message, rpc.Request):
            try:
                self._take(message, size)
            except (Refused, BadParams) as error:
                self.send_error(message.msgid, wire_error(error))
        elif isinstance(message, rpc.Notification) and message.method == "cancel":
            self._cancel(message.params)
        self._has_spoken = True

    def send_error(self, msgid: int | None, error: WireError) -> None:
        """Answer with an error; in the plain form before hello."""
        self._transport.send(rpc.error_response(msgid, *error, plain=not self.said_hello))

    async def follow(self, request: EventsSubscribe) -> int:
        """See `route.Caller`. A second subscription replaces the first."""
        if self._feed is not None:
            self._feed.close()
        bus, wanted = self._service.bus, await self._filter(request)
        since = request.since if request.since is not None else (await self._service.jobs.status()).event_seq
        self._feed = EventFeed(
            lambda after, deliver: bus.subscribe(wanted, after, deliver),
            since,
            send=self._transport.send,
            may_send=self._transport.may_send,
            lost=self._transport.finish,
        )
        await self._feed.start()
        # The answer is written in this iteration of the loop, so the events follow it.
        self._loop.call_soon(self._feed.release)
        return since

    def may_send_again(self) -> None:
        """Resume sending: the client reads again."""
        self._scheduler.go_on()
        if self._feed is not None:
            self._feed.resume()

    def close(self, *, client_returns: bool) -> None:
        """Close the session. `client_returns`: the daemon is ending and the client is expected to reconnect.

        Running calls complete without an answer, waiting ones are cancelled, queued ones are dropped.
        """
        self._scheduler.stop()
        if self._feed is not None:
            self._feed.close()
        for call in list(self._waiting.values()):
            self._stop_waiting(call)
        if client_returns:
            return  # open batches are dropped when the next daemon starts
        for token in self.batches:
            discarding = self._loop.create_task(self._service.jobs.batch_discard(token))
            self._background.add(discarding)
            discarding.add_done_callback(self._background.discard)
        self._service.workers.client_gone(self)

    async def _filter(self, request: EventsSubscribe) -> EventFilter:
        seq = None if request.job is None else (await self._service.jobs.get(request.job))[0].seq
        kinds = None if request.kinds is None else frozenset(str(kind) for kind in request.kinds)
        return EventFilter(kinds, seq, request.queue, request.pool)

    def _take(self, request: rpc.Request, size: int) -> None:
        if request.method == "hello":
            self._transport.send(rpc.response(request.msgid, self._hello(request.params)))
            return
        params = _params_map(request.params)
        if request.method == "ping":
            # Out of order: clients ping to check the daemon while an earlier call takes long.
            self._transport.send(rpc.response(request.msgid, {}))
            return
        route = find_route(request.method)
        method = METHODS[request.method]
        effect = Effect.WAIT if method.waits(params) else method.effect
        if route.runs_alone is not None and route.runs_alone(self, params):
            effect = Effect.CHANGE
        call = Call(request.msgid, request.method, route, effect, params, size)
        if effect is Effect.WAIT:
            if size > MAX_WAIT_BYTES:
                message = f"a waiting call may have at most {MAX_WAIT_BYTES:,} bytes, this one has {size:,}"
                raise Refused(ErrorCode.TOO_LARGE, f"{message}; name fewer jobs, or use a selector such as 1-100000")
            if self._scheduler.waits >= MAX_WAITS or self._wait_bytes + size > MAX_WAIT_BYTES:
                message = (
                    f"too many waiting calls on this connection: {self._scheduler.waits}"
                    f" with {self._wait_bytes:,} bytes;"
                    f" at most {MAX_WAITS:,} with {MAX_WAIT_BYTES:,} bytes"
                )
                raise Refused(ErrorCode.BUSY, message)
            self._waiting[call.msgid] = call
            self._wait_bytes += size
        else:
            self._owed_bytes += size
        self._scheduler.put(effect, call)

    def _hello(self, params: Any) -> dict[str, Any]:
        if self._has_spoken:
            raise Refused(ErrorCode.WRONG_STATE, "hello must be the first call of a connection")
        self.said_hello = True
        request = Hello.from_map(_params_map(params))
        if request.protocol > rpc.PROTOCOL_VERSION:
            message = (
                f"this daemon (queuectld {__version__}) speaks protocol {rpc.PROTOCOL_VERSION}, this client"
                f" {request.protocol}: upgrade the daemon, then: queuectl daemon restart"
            )
            raise Refused(ErrorCode.VERSION, message, {"protocol": rpc.PROTOCOL_VERSION})
        # An older client gets the protocol that it asked for.
        return {
            "server": f"queuectld {__version__}",
            "protocol": request.protocol,
            "capabilities": list(CAPABILITIES),
            "store": self._service.daemon.info()["store"],
        }

    def _start(self, call: Call) -> None:
        call.task = self._loop.create_task(self._carry_out(call))
        self._background.add(call.task)
        call.task.add_done_callback(self._background.discard)
        if call.cancelled:
            self._stop_waiting(call)

    async def _carry_out(self, call: Call) -> None:
        try:
            request = REQUESTS[call.method].from_map(call.params)
            call.params = {}  # free memory during a long wait
            handling = call.route.handle(self._service, self, request)
            del request
            answer = _answer(call.msgid, await handling)
        except asyncio.CancelledError:
            answer = None
            self.send_error(call.msgid, WireError(ErrorCode.GONE, "the call was cancelled by its client"))
        except Exception as error:  # any failure becomes the answer of this call and affects no other
            answer = None
            self.send_error(call.msgid, wire_error(error))
        if answer is not None:
            self._transport.send(answer)
        self._ended(call)

    def _ended(self, call: Call) -> None:
        if call.effect is Effect.WAIT:
            self._wait_bytes -= call.size
            if self._waiting.get(call.msgid) is call:
                del self._waiting[call.msgid]
        else:
            self._owed_bytes -= call.size
        self._scheduler.ended(call.effect)
        self._transport.call_ended()

    def _cancel(self, params: Any) -> None:
        """Cancel a waiting call. Other calls are answered soon and are not cancelled."""
        try:
            msgid = _params_map(params).get("msgid")
        except Refused:
            return
        if isinstance(msgid, int) and (call := self._waiting.get(msgid)) is not None:
            call.cancelled = True
            self._stop_waiting(call)

    def _stop_waiting(self, call: Call) -> None:
        if call.task is not None:
            # Deferred: a task that is cancelled before its first step never runs, and would never answer.
            self._loop.call_soon(call.task.cancel)


def _params_map(params: Any) -> Mapping[str, Any]:
    try:
        return rpc.params_of(params)
    except ValueError as error:
        raise Refused(ErrorCode.INVALID_PARAMS, str(error)) from None


def _answer(msgid: int, result: Any) -> bytes:
    """Encode an answer. Raises Refused (too_large) above the message limit."""
    frame = rpc.response(msgid, result)
    if len(frame) > rpc.MAX_MESSAGE_BYTES:
        message = f"done, but the answer ({len(frame):,} bytes) exceeds the message limit; ask for fewer jobs at a time"
        raise Refused(ErrorCode.TOO_LARGE, message)
    return frame
