"""Sans-I/O RPC session: message ids, hello, responses and notifications of one connection.

Shared by Client and AsyncClient. Also the response timeout of each call, from the table of methods.
"""

from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from queuectl_client.errors import (
    ConnectionLost,
    InvalidParams,
    QueuectlError,
    UnknownMethod,
    VersionMismatch,
    from_wire,
)
from queuectl_client.protocol import rpc
from queuectl_client.protocol.methods import METHODS, UNKNOWN, Answer
from queuectl_client.version import __version__

DEFAULT_PATIENCE_S: Final = 10.0
"""Response timeout in seconds of a call that does not block."""

SLOW_PATIENCE_S: Final = 60.0
"""Response timeout in seconds of calls that are expensive for the daemon."""

SIGN_OF_LIFE_S: Final = 15.0
"""Seconds without data during a blocking call after which the client sends a `ping`."""

JOBS_A_CALL: Final = 1_000
"""Maximum number of jobs changed by one call, for selectors that may match any number of jobs."""

_SELECTOR_SIGNS: Final = frozenset(":@-")


def patience_s(method: str, params: Mapping[str, Any], default: float | None = DEFAULT_PATIENCE_S) -> float | None:
    """Return the response timeout in seconds; None for a call that may block for as long as a job runs."""
    known = METHODS.get(method, UNKNOWN)
    if known.answer is Answer.TIMEOUT:
        timeout = params.get("timeout")
        if timeout is None:
            return None
        return float(timeout + (SLOW_PATIENCE_S if _may_be_many(params.get("ids")) else DEFAULT_PATIENCE_S))
    if known.answer is Answer.WHENEVER or known.waits(params):
        return None
    if known.on_jobs and params.get("limit") is None and _may_be_many(params.get("ids", params.get("id"))):
        return None
    return SLOW_PATIENCE_S if known.answer is Answer.LATER and default is not None else default


def _may_be_many(ref: object) -> bool:
    """Whether `ref` may contain a selector that matches any number of jobs."""
    if isinstance(ref, list | tuple):
        return any(map(_may_be_many, ref))
    return isinstance(ref, str) and (ref == "all" or not _SELECTOR_SIGNS.isdisjoint(ref))


def may_repeat(method: str, params: Mapping[str, Any]) -> bool:
    """Whether a call may be repeated if its response was lost."""
    return METHODS.get(method, UNKNOWN).may_repeat(params)


def is_wait(method: str, params: Mapping[str, Any]) -> bool:
    """Whether the call may block for as long as a job runs."""
    return patience_s(method, params) is None


class Silence:
    """Keepalive timer of a blocking call: when to ping the daemon, and when to give it up as silent.

    All times are readings of one clock, passed in by the caller.
    """

    def __init__(self, patience: float | None, now: float) -> None:
        """`patience`: seconds to wait for the response to a ping; None: forever."""
        self.deadline = None if patience is None else now + SIGN_OF_LIFE_S
        """Time by which data must arrive; None: no limit."""
        self._patience = patience
        self._heard = now
        self._asked = False

    def heard(self, at: float) -> None:
        """Record that data arrived at this time. Ignored if data arrived later."""
        if at > self._heard and self._patience is not None:
            self._heard, self._asked = at, False
            self.deadline = at + SIGN_OF_LIFE_S

    def may_ask(self, now: float) -> bool:
        """Handle an expired deadline. True: send a ping and wait until the new one; False: the ping timed out."""
        if self._asked or self._patience is None:
            return False
        self._asked, self.deadline = True, now + self._patience
        return True


class RpcSession:
    """Pending calls and received responses of one connection. `server` is the result of hello, once received."""

    def __init__(self, after: int = 0, *, subscription_lost: bool = False) -> None:
        self._subscribed = False
        self._subscription_lost = subscription_lost
        self._decoder = rpc.Decoder()
        self._last = after
        self._hello: int | None = None
        self._refusal: QueuectlError | None = None
        self._asked: set[int] = set()
        self._answers: dict[int, rpc.Response] = {}
        self.notifications: deque[rpc.Notification] = deque()
        self.server: dict[str, Any] = {}

    def next(self) -> "RpcSession":
        """Return a session for the next connection. Message ids continue, so no call gets another's response."""
        return RpcSession(self._last, subscription_lost=self._subscribed or self._subscription_lost)

    def check_subscription(self) -> None:
        """Raise ConnectionLost if the subscription was made over an earlier connection and was not renewed.

        A call in between may have reconnected to a new daemon, which would never send a notification.
        """
        if self._subscription_lost:
            raise ConnectionLost("the subscription was made over a connection that was lost")

    def call(self, method: str, params: Mapping[str, Any]) -> tuple[int, bytes]:
        """Return the message id of a new call and the bytes to send; the first call is preceded by hello.

        Parameters that are None are left out. Raises InvalidParams for parameters that cannot be encoded.
        """
        hello = b"" if self._hello is not None else self._say_hello()
        self._last += 1
        given = {key: value for key, value in params.items() if value is not None}
        try:
            frame = rpc.request(self._last, method, given)
        except ValueError as error:
            raise InvalidParams(str(error)) from None
        if len(frame) > rpc.MAX_MESSAGE_BYTES:
            raise InvalidParams(
                f"this call has {len(frame):,} bytes, but at most {rpc.MAX_MESSAGE_BYTES:,} can be sent"
            )
        self._asked.add(self._last)
        if method == "events.subscribe":
            self._subscribed, self._subscription_lost = True, False
        return self._last, hello + frame

    def cancel(self, msgid: int) -> bytes:
        """Return the bytes that cancel a blocking call; its response still arrives."""
        return rpc.notification("cancel", {"msgid": msgid})

    def lost(self, words: str) -> ConnectionLost:
        """Return the error for a lost connection."""
        error = ConnectionLost(words)
        error.spoke = bool(self.server)
        return error

    def receive(self, data: bytes) -> list[int]:
        """Process received bytes; return the ids of the calls answered. Raises ConnectionLost for malformed data."""
        answered = []
        try:
            for message in self._decoder.feed(data):
                if isinstance(message, rpc.Response):
                    answered += self._take_answer(message)
                elif isinstance(message, rpc.Notification):
                    self._take_notification(message)
        except rpc.ProtocolError as error:
            raise self.lost(f"the daemon's answer cannot be read: {error.text}") from None
        return answered

    def has_answer(self, msgid: int) -> bool:
        """Whether the response to the call has arrived and was not taken yet."""
        return msgid in self._answers

    def is_asked(self, msgid: int) -> bool:
        """Whether the call is still pending."""
        return msgid in self._asked

    def take(self, msgid: int) -> Any:
        """Return the result of an answered call. Raises the error of its response, or that of hello."""
        answer = self._answers.pop(msgid)
        if self._refusal is not None:
            raise self._refusal
        if answer.error is not None:
            raise _with_versions(from_wire(answer.error), str(self.server.get("server", "")))
        return answer.result

    def ping(self) -> bytes:
        """Return the bytes of a ping. Any data received afterwards is a sign of life."""
        msgid, data = self.call("ping", {})
        self.forget(msgid)
        return data

    def forget(self, msgid: int) -> None:
        """Discard the response, now or when it arrives."""
        self._asked.discard(msgid)
        self._answers.pop(msgid, None)

    def _say_hello(self) -> bytes:
        self._last += 1
        self._hello = self._last
        params = {"client": f"queuectl/{__version__} (Python)", "protocol": rpc.PROTOCOL_VERSION}
        return rpc.request(self._last, "hello", params)

    def _take_answer(self, answer: rpc.Response) -> list[int]:
        if answer.msgid is None:
            # The error belongs to no call (too many connections, say); the daemon closes the connection next.
            raise from_wire(answer.error)
        if answer.msgid == self._hello:
            self._take_hello(answer)
            return []
        if answer.msgid not in self._asked:
            return []
        self._asked.discard(answer.msgid)
        self._answers[answer.msgid] = answer
        return [answer.msgid]

    def _take_hello(self, answer: rpc.Response) -> None:
        if answer.error is not None:
            refusal = from_wire(answer.error)
            if not isinstance(refusal, UnknownMethod):
                self._refusal = refusal
            return
        self.server = answer.result if isinstance(answer.result, dict) else {}
        spoken = self.server.get("protocol", rpc.PROTOCOL_VERSION)
        if spoken != rpc.PROTOCOL_VERSION:
            older = "daemon" if isinstance(spoken, int) and spoken < rpc.PROTOCOL_VERSION else "client"
            self._refusal = VersionMismatch(
                f"the daemon speaks protocol {spoken}, this client {rpc.PROTOCOL_VERSION}: upgrade the {older}"
            )

    def _take_notification(self, message: rpc.Notification) -> None:
        try:
            params = rpc.params_of(message.params)
        except ValueError:
            return  # unknown format: ignore it
        self.notifications.append(rpc.Notification(message.method, params))


def _with_versions(error: QueuectlError, server: str) -> QueuectlError:
    """Return the error; if a daemon of another version did not know the request, add which side to upgrade."""
    daemon = server.partition(" ")[2]
    if isinstance(error, UnknownMethod | InvalidParams) and daemon and daemon != __version__:
        side = "daemon, then: queuectl daemon restart" if _numbers(daemon) < _numbers(__version__) else "client"
        words = f"{error.message} (the daemon is version {daemon}, this client {__version__}: upgrade the {side})"
        return type(error)(words, error.data)
    return error


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".") if part.isdecimal()]
