"""The transport of one client: bytes in and out, flow control and deadlines.

Reading pauses while too many calls are pending or the client does not read its answers; incomplete messages and
clients that stop reading have deadlines. The session interprets the messages.
"""

import asyncio
from collections.abc import Iterator
from typing import Final, Protocol

from queuectl_client.protocol.rpc import Decoder, Message, ProtocolError
from queuectl_client.protocol.vocabulary import ErrorCode
from queuectld.pool.link import start_reading
from queuectld.scheduler.service import Service
from queuectld.server.router import WireError
from queuectld.server.session import ClientSession

HALF_MESSAGE_S: Final = 30.0
"""How long a message may take from its first byte to its last."""
STOPPED_READER_S: Final = 30.0
"""How long a client may stop reading once UNREAD_BYTES are buffered for it."""
UNREAD_BYTES: Final = 1024 * 1024
PIECE_BYTES: Final = 256 * 1024
"""Answers are collected up to this size: each write is a system call and wakes the client."""
SMALL_BYTES: Final = 64 * 1024
"""An incomplete message up to this size is always accepted, however many there are."""


class ConnectionRegistry(Protocol):
    """The part of `Connections` that a connection uses."""

    is_closing: bool

    def half_messages(self, change: int) -> bool:
        """Add to the total size of incomplete messages. False if it is over the limit."""
        ...

    def connection_closed(self, connection: "Connection") -> None:
        """Called when the connection is closed."""
        ...


class Connection(asyncio.Protocol):
    """The connection of one client, made after its credentials were checked."""

    def __init__(self, service: Service, registry: ConnectionRegistry) -> None:
        self._registry = registry
        self._loop = asyncio.get_running_loop()
        self._session = ClientSession(service, self)
        self._decoder = Decoder()
        self._messages: Iterator[Message] = iter(())
        self._transport: asyncio.Transport | None = None
        self._unconsumed = 0
        """Bytes received since the last complete message."""
        self._counted = 0
        self._outgoing: list[bytes] = []
        self._outgoing_bytes = 0
        self._is_paused = False
        self._is_unread = False
        self._is_finishing = False
        self._half_deadline: asyncio.TimerHandle | None = None
        self._unread_deadline: asyncio.TimerHandle | None = None

    @property
    def is_silent(self) -> bool:
        """Whether no complete message was received."""
        return not self._session.has_spoken

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=UNREAD_BYTES)
        if not start_reading(transport):
            transport.abort()
            return
        if self._is_finishing:
            self.finish()

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        self._unconsumed += len(data)
        self._messages = self._decoder.feed(data)
        self._consume()

    def eof_received(self) -> bool:
        """Called by asyncio. The client sends no more, but may still read pending answers."""
        self.finish()
        return True

    def connection_lost(self, _exc: Exception | None) -> None:
        """Called by asyncio."""
        self._transport = None
        self._is_finishing = True
        self._set_half_deadline(False)
        self._release_input()
        if self._unread_deadline is not None:
            self._unread_deadline.cancel()
        self._session.close(client_returns=self._registry.is_closing)
        self._registry.connection_closed(self)

    def pause_writing(self) -> None:
        """Called by asyncio: the client does not read."""
        self._is_unread = True
        self._unread_deadline = self._loop.call_later(STOPPED_READER_S, self.abort)

    def resume_writing(self) -> None:
        """Called by asyncio: the client has read."""
        self._is_unread = False
        if self._unread_deadline is not None:
            self._unread_deadline.cancel()
        self._session.may_send_again()
        self.call_ended()

    def send(self, frame: bytes) -> None:
        """See `session.ClientTransport`. Answers of one iteration of the loop are sent together."""
        if self._transport is None:
            return
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(frame)
        self._outgoing_bytes += len(frame)
        if self._outgoing_bytes > PIECE_BYTES:
            self._flush()

    def may_send(self) -> bool:
        """See `session.ClientTransport`."""
        return not self._is_unread

    def call_ended(self) -> None:
        """See `session.ClientTransport`. Flushes when no other call is pending."""
        if self._outgoing and not self._session.is_owed:
            self._flush()
        if self._is_finishing:
            self.finish()
        elif self._is_paused:
            self._consume()

    def finish(self) -> None:
        """See `session.ClientTransport`. Reads no more; waiting calls are not answered."""
        self._is_finishing = True
        self._set_half_deadline(False)
        self._release_input()
        if self._transport is None:
            return
        if self._session.is_owed:
            self._pause_reading()
        else:
            self._flush()
            self._transport.close()

    def _release_input(self) -> None:
        """Free the input buffers now; the objects themselves wait for the garbage collector."""
        self._messages = iter(())
        self._decoder.close()
        self._count_half(0)

    def abort(self) -> None:
        """Close at once, without sending pending answers."""
        if self._transport is not None:
            self._transport.abort()

    def refuse(self, code: ErrorCode, text: str, msgid: int | None = None) -> None:
        """Send an error and close."""
        self._session.send_error(msgid, WireError(code, text))
        self.finish()

    def _flush(self) -> None:
        frames, self._outgoing, self._outgoing_bytes = self._outgoing, [], 0
        if frames and self._transport is not None:
            self._transport.write(frames[0] if len(frames) == 1 else b"".join(frames))

    def _consume(self) -> None:
        """Pass complete messages to the session while it has room."""
        while not self._is_finishing:
            if self._is_unread or not self._session.has_room:
                self._pause_reading()
                return
            try:
                message = next(self._messages, None)
            except ProtocolError as error:
                self.refuse(error.code, error.text, error.msgid)
                return
            if message is None:
                self._resume_reading()
                return
            size, self._unconsumed = self._unconsumed, 0
            self._session.receive(message, size)

    def _pause_reading(self) -> None:
        """Pause reading, and the deadline of an incomplete message, since the delay is ours."""
        if not self._is_paused and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()
        self._set_half_deadline(False)

    def _resume_reading(self) -> None:
        if self._is_paused and self._transport is not None:
            self._is_paused = False
            self._transport.resume_reading()
        is_half = self._decoder.half_read
        self._set_half_deadline(is_half)
        if not self._count_half(self._unconsumed if is_half else 0) and self._unconsumed > SMALL_BYTES:
            self.refuse(ErrorCode.BUSY, "too many incomplete messages; try again later")

    def _count_half(self, size: int) -> bool:
        if size == self._counted:
            return True
        change, self._counted = size - self._counted, size
        return self._registry.half_messages(change)

    def _set_half_deadline(self, is_half: bool) -> None:
        if is_half and self._half_deadline is None:
            words = f"incomplete message: no more of it within {HALF_MESSAGE_S:g} s"
            self._half_deadline = self._loop.call_later(HALF_MESSAGE_S, self.refuse, ErrorCode.INVALID_PARAMS, words)
        elif not is_half and self._half_deadline is not None:
            self._half_deadline.cancel()
            self._half_deadline = None
