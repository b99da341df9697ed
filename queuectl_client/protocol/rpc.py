"""MessagePack-RPC: encode and decode messages within limits. Sans-I/O.

Implements the specification (https://github.com/msgpack-rpc/msgpack-rpc/blob/master/spec.md): a stream of requests
`[0, msgid, method, params]`, responses `[1, msgid, error, result]` and notifications `[2, method, params]`. Limits
apply while a message is decoded, before it takes much memory.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgpack

from queuectl_client.protocol.text import all_to_wire
from queuectl_client.protocol.vocabulary import ErrorCode

PROTOCOL_VERSION: Final = 1
"""Version for hello. Incremented for incompatible changes, not for added keys."""

MAX_MESSAGE_BYTES: Final = 8 * 1024 * 1024
"""Maximum size of a message with its envelope: 10,000 jobs of 800 bytes."""
MAX_DEPTH: Final = 32
"""Maximum nesting of lists and maps. Python's repr and json fail at about 1,000."""
MAX_CONTAINERS: Final = 100_000
"""Maximum lists and maps in a message: 10,000 jobs with nine each. 1 MB of empty maps would take 73 MB."""
MAX_VALUES: Final = 600_000
"""Maximum items of all lists and maps in a message: 8 MiB of them could take 400 MB."""
MAX_ITEMS: Final = 131_072
"""Maximum items of one list or map."""

_FIRST_BUFFER: Final = 1024
_MAX_MSGID: Final = 2**32 - 1
_REQUEST, _RESPONSE, _NOTIFICATION = 0, 1, 2
_CONTAINERS: Final = (list, dict)


class Limits(NamedTuple):
    """Limits of one message."""

    message_bytes: int = MAX_MESSAGE_BYTES
    depth: int = MAX_DEPTH
    containers: int = MAX_CONTAINERS
    values: int = MAX_VALUES
    items: int = MAX_ITEMS


DEFAULT_LIMITS: Final = Limits()


class Request(NamedTuple):
    """A call. `params` is unchecked; `params_of` returns its map."""

    msgid: int
    method: str
    params: Any


class Response(NamedTuple):
    """The answer to a call. `msgid` is None if the peer could not identify the call."""

    msgid: int | None
    error: Any
    result: Any


class Notification(NamedTuple):
    """A message without an answer."""

    method: str
    params: Any


Message = Request | Response | Notification


class ProtocolError(Exception):
    """The peer sent an invalid message or exceeded a limit. The rest of the stream is unusable.

    `msgid` is that of the invalid call, if known.
    """

    def __init__(self, code: ErrorCode, text: str, msgid: int | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.msgid = msgid


class Extension:
    """A value of an extension type. None is defined; messages with one are decoded so that checks can refuse it."""

    def __init__(self, code: int, data: bytes) -> None:
        self.code = code
        self.size = len(data)

    def __repr__(self) -> str:
        """Return the text for errors."""
        return f"extension type {self.code}"


class Decoder:
    """Splits the byte stream of one connection into messages. Unusable after a ProtocolError.

    A message is decoded only when it is complete. Otherwise five bytes could allocate a list of 100,000 items, and the
    next five another inside it, without end.
    """

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._containers = self._values = 0
        self._pending = bytearray()
        self._ended = 0  # position of the end of the last message in the stream
        self._dead = False
        # Skips messages without decoding them. The buffer holds a message and the piece in which it begins; it starts
        # small (`read_size`, by default 1 MiB) and grows, because most connections send only short calls.
        room = 2 * limits.message_bytes
        self._framer: msgpack.Unpacker | None = msgpack.Unpacker(read_size=_FIRST_BUFFER, max_buffer_size=room)

    @property
    def half_read(self) -> bool:
        """Whether a message has been received in part."""
        return bool(self._pending)

    def close(self) -> None:
        """Discard a partial message. Nothing more can be fed."""
        self._dead = True
        self._pending = bytearray()
        self._framer = None

    def feed(self, data: bytes | bytearray | memoryview) -> Iterator[Message]:
        """Yield the messages that this piece of the stream completes. Take all of them before feeding the next piece.

        Raise ProtocolError for an invalid message or an exceeded limit, after the messages before it.
        """
        framer = self._framer
        if self._dead or framer is None:
            raise ProtocolError(ErrorCode.INVALID_PARAMS, "the stream was broken before")
        step = self._limits.message_bytes
        for start in range(0, len(data), step):
            piece = data[start : start + step] if len(data) > step else data
            self._pending += piece
            framer.feed(piece)
            yield from self._whole_messages(framer)

    def _whole_messages(self, framer: msgpack.Unpacker) -> Iterator[Message]:
        try:
            while True:
                framer.skip()
                end = framer.tell()
                size, self._ended = end - self._ended, end
                if size > self._limits.message_bytes:
                    raise self._too_long()
                packed = bytes(self._pending[:size])
                del self._pending[:size]
                yield self._build(packed)
        except msgpack.OutOfData:
            if len(self._pending) > self._limits.message_bytes:
                raise self._broken(self._too_long()) from None
        except ProtocolError as error:
            raise self._broken(error) from None
        except (ValueError, TypeError, msgpack.StackError) as error:
            raise self._broken(_no_message(error)) from None

    def _build(self, packed: bytes) -> Message:
        try:
            value = self._unpack(packed, object_hook=self._count)
        except TypeError:
            # A map with a list or map as a key, which is unhashable. It may be in an unknown notification.
            value = self._unpack(packed, object_pairs_hook=self._count_pairs)
        # A message is not nested deeper than its number of lists and maps.
        if self._containers > self._limits.depth and _deeper_than(self._limits.depth, value):
            raise ProtocolError(ErrorCode.TOO_LARGE, f"more than {self._limits.depth} nested lists and maps")
        return _as_message(value)

    def _unpack(self, packed: bytes, **map_hook: Any) -> Any:
        """Decode a message. `_count` sees each list and map when it is complete, so a flood of them is stopped early.

        Extension types and keys that are not text are accepted: `params_of` and the checks of a request refuse them,
        and the connection stays open.
        """
        self._containers = self._values = 0
        return msgpack.unpackb(
            packed,
            unicode_errors="surrogateescape",  # other clients may send any bytes as str
            list_hook=self._count,
            ext_hook=Extension,
            strict_map_key=False,
            max_array_len=self._limits.items,
            max_map_len=self._limits.items,
            **map_hook,
        )

    def _count_pairs(self, pairs: list[tuple[Any, Any]]) -> Any:
        return self._count({_as_key(key): value for key, value in pairs})

    def _count(self, container: Any) -> Any:
        self._containers += 1
        self._values += len(container)
        if self._containers > self._limits.containers or self._values > self._limits.values:
            text = (
                f"more than {self._limits.containers:,} lists and maps or {self._limits.values:,} values in a message"
            )
            raise ProtocolError(ErrorCode.TOO_LARGE, text)
        return container

    def _too_long(self) -> ProtocolError:
        return ProtocolError(ErrorCode.TOO_LARGE, f"a message of more than {self._limits.message_bytes:,} bytes")

    def _broken(self, error: ProtocolError) -> ProtocolError:
        self._dead = True
        return error


def params_of(params: Any) -> dict[str, Any]:
    """Return the map of a call's params, an array of at most one map. Raise ValueError; the stream stays usable."""
    if isinstance(params, list):
        if not params:
            return {}
        if len(params) == 1 and isinstance(params[0], dict):
            for name in params[0]:
                if not isinstance(name, str):
                    raise ValueError(f"parameters go by name, but {name!r} is not a string")
            return params[0]
    raise ValueError("params must be an array of no or one map: parameters go by name")


def request(msgid: int, method: str, params: Mapping[str, Any] | None = None) -> bytes:
    """Encode a call. Raise ValueError for a value that cannot be encoded."""
    return _pack([_REQUEST, msgid, method, [params] if params else []])


def response(msgid: int, result: Any) -> bytes:
    """Encode the answer to a call that succeeded."""
    return _pack([_RESPONSE, msgid, None, result])


def error_response(
    msgid: int | None, code: str, text: str, data: Mapping[str, Any] | None = None, *, plain: bool = False
) -> bytes:
    """Encode the answer to a call that failed. `plain`: as one string, for connections without hello."""
    error = f"{code}: {text}" if plain else {"code": code, "message": text, "data": data}
    return _pack([_RESPONSE, msgid, error, None])


def notification(method: str, params: Mapping[str, Any] | None = None) -> bytes:
    """Encode a message without an answer."""
    return _pack([_NOTIFICATION, method, [params] if params else []])


def _pack(message: list[Any]) -> bytes:
    try:
        return _packer_pack(message)
    except UnicodeEncodeError:
        return _packer_pack(all_to_wire(message))  # raises NotText, a ValueError
    except (TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"this cannot be sent: {error}") from None


def _packer_pack(message: list[Any]) -> bytes:
    packed: bytes = msgpack.packb(message, use_bin_type=True)
    return packed


def _as_message(value: Any) -> Message:
    # The type must be an int, not an equal value such as true or 1.0.
    match value:
        case [kind, msgid, str(method), params] if kind is _REQUEST and _is_msgid(msgid):
            return Request(msgid, method, params)
        case [kind, msgid, error, result] if kind is _RESPONSE and (msgid is None or _is_msgid(msgid)):
            return Response(msgid, error, result)
        case [kind, str(method), params] if kind is _NOTIFICATION:
            return Notification(method, params)
        case [kind, msgid, *_] if kind is _REQUEST and _is_msgid(msgid):
            raise ProtocolError(ErrorCode.INVALID_PARAMS, "a request is [0, msgid, method, params]", msgid)
    raise ProtocolError(ErrorCode.INVALID_PARAMS, "not a MessagePack-RPC message")


def _is_msgid(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _MAX_MSGID


def _deeper_than(limit: int, value: Any) -> bool:
    """Return whether lists and maps are nested more than `limit` deep."""
    level = [value]
    for _ in range(limit):
        level = [
            item
            for container in level
            for item in (container.values() if type(container) is dict else container)
            if type(item) in _CONTAINERS
        ]
        if not level:
            return False
    return True


def _as_key(key: Any) -> Any:
    """Return a hashable key: a stand-in, which is not a string either, for a list or map."""
    return (type(key).__name__,) if type(key) in _CONTAINERS else key


def _no_message(error: Exception) -> ProtocolError:
    text = str(error) or "not MessagePack"
    code = ErrorCode.TOO_LARGE if "exceeds max" in text else ErrorCode.INVALID_PARAMS
    return ProtocolError(code, text)
