"""The calls of one connection: numbers, hello, answers, notifications. No sockets, so Client and AsyncClient share it.

Also how long an answer may take, by the table of the methods.
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
"""How long a call that waits for nothing may stay without an answer, before the daemon counts as silent."""

SLOW_PATIENCE_S: Final = 60.0
"""The same for calls that make the daemon do much."""

SIGN_OF_LIFE_S: Final = 15.0
"""How long nothing may come from a daemon that is waited for, before it is asked whether it lives (`ping`)."""

JOBS_A_CALL: Final = 1_000
"""Where a selector may stand for any number of jobs, so many are changed by one call."""

_SELECTOR_SIGNS: Final = frozenset(":@-")


def patience_s(method: str, params: Mapping[str, Any], default: float | None = DEFAULT_PATIENCE_S) -> float | None:
    """Seconds in which an answer must come; None for a call that may wait for as long as a job runs."""
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
    """Whether there may be a selector in it that stands for any number of jobs."""
    if isinstance(ref, list | tuple):
        return any(map(_may_be_many, ref))
    return isinstance(ref, str) and (ref == "all" or not _SELECTOR_SIGNS.isdisjoint(ref))


def may_repeat(method: str, params: Mapping[str, Any]) -> bool:
    """Whether a call whose answer was lost may be made again."""
    return METHODS.get(method, UNKNOWN).may_repeat(params)


def is_wait(method: str, params: Mapping[str, Any]) -> bool:
    """Whether the call may wait for as long as a job runs."""
    return patience_s(method, params) is None


class Silence:
    """When a daemon that is waited for, for as long as a job runs, is asked whether it lives, and when it is silent.

    Times are those of one clock that the caller reads.
    """

    def __init__(self, patience: float | None, now: float) -> None:
        """`patience`: seconds for a sign of life; None: any time."""
        self.deadline = None if patience is None else now + SIGN_OF_LIFE_S
        """Until when something must come; None: it need not."""
        self._patience = patience
        self._heard = now
        self._asked = False

    def heard(self, at: float) -> None:
        """Something came at this time, if nothing did later."""
        if at > self._heard and self._patience is not None:
            self._heard, self._asked = at, False
            self.deadline = at + SIGN_OF_LIFE_S

    def may_ask(self, now: float) -> bool:
        """The deadline was first. True: it is asked with a ping, and has its patience to answer; False: it was."""
        if self._asked or self._patience is None:
            return False
        self._asked, self.deadline = True, now + self._patience
        return True


class RpcSession:
    """What has been asked on one connection and what has come back. `server` is the answer to hello, once it came."""

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
        """The session of the next connection. It goes on counting, so that no call gets another's answer."""
        return RpcSession(self._last, subscription_lost=self._subscribed or self._subscription_lost)

    def check_subscription(self) -> None:
        """Raise ConnectionLost when what was subscribed to was told over an earlier connection, and not asked anew.

        A call in between may have found the next daemon, where nobody would ever be told anything.
        """
        if self._subscription_lost:
            raise ConnectionLost("the subscription was made over a connection that was lost")

    def call(self, method: str, params: Mapping[str, Any]) -> tuple[int, bytes]:
        """The number of a new call and the bytes to send for it; hello goes before the first.

        Parameters that are None are left out. Raises InvalidParams for what cannot be sent.
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
        """The bytes that end a waiting call; its answer still comes."""
        return rpc.notification("cancel", {"msgid": msgid})

    def lost(self, words: str) -> ConnectionLost:
        """The error for a connection that was lost."""
        error = ConnectionLost(words)
        error.spoke = bool(self.server)
        return error

    def receive(self, data: bytes) -> list[int]:
        """Take what came and tell which calls are answered by it. Raises ConnectionLost for what is no answer."""
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
        """Whether the call has been answered and the answer was not taken yet."""
        return msgid in self._answers

    def is_asked(self, msgid: int) -> bool:
        """Whether an answer to the call is still to come."""
        return msgid in self._asked

    def take(self, msgid: int) -> Any:
        """The result of an answered call. Raises the error it was answered with, or that hello was."""
        answer = self._answers.pop(msgid)
        if self._refusal is not None:
            raise self._refusal
        if answer.error is not None:
            raise _with_versions(from_wire(answer.error), str(self.server.get("server", "")))
        return answer.result

    def ping(self) -> bytes:
        """The bytes that ask for a sign of life. Whatever comes after them is one."""
        msgid, data = self.call("ping", {})
        self.forget(msgid)
        return data

    def forget(self, msgid: int) -> None:
        """Drop the answer, now or when it comes."""
        self._asked.discard(msgid)
        self._answers.pop(msgid, None)

    def _say_hello(self) -> bytes:
        self._last += 1
        self._hello = self._last
        params = {"client": f"queuectl/{__version__} (Python)", "protocol": rpc.PROTOCOL_VERSION}
        return rpc.request(self._last, "hello", params)

    def _take_answer(self, answer: rpc.Response) -> list[int]:
        if answer.msgid is None:
            # It could not tell which call it refuses, and closes next: too many connections, say.
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
            return  # of a form we do not know: ignored, whatever it carries
        self.notifications.append(rpc.Notification(message.method, params))


def _with_versions(error: QueuectlError, server: str) -> QueuectlError:
    """The error; where a daemon of another version did not know what was asked, it says which side to upgrade."""
    daemon = server.partition(" ")[2]
    if isinstance(error, UnknownMethod | InvalidParams) and daemon and daemon != __version__:
        side = "daemon, then: queuectl daemon restart" if _numbers(daemon) < _numbers(__version__) else "client"
        words = f"{error.message} (the daemon is version {daemon}, this client {__version__}: upgrade the {side})"
        return type(error)(words, error.data)
    return error


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".") if part.isdecimal()]
