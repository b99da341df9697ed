"""Exceptions raised by clients, and the conversion of wire errors to them.

    code on the wire   class                exit code of the CLI
                       QueuectlError          1
    invalid_params     |- InvalidParams       2
    too_large          |- TooLarge            2
    unknown_method     |- UnknownMethod       1
    version            |- VersionMismatch     1
    not_found          |- NotFound            4
    conflict           |- Conflict            5
    wrong_state        |- WrongState          5
    gone               |- Gone                1
    busy               |- Busy                1
    no_space           |- NoSpace             1
    internal           |- Internal            1
    (none)             `- DaemonUnreachable   3   no daemon, or it does not respond
    (none)                |- NoDaemon         3   nothing listens
    (none)                |- ConnectionLost   3   lost during a call that may not be repeated
    (none)                `- ForeignServer    3   the socket or its server belongs to another user

This is the only module that converts wire errors to exceptions.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from queuectl_client.protocol.vocabulary import ErrorCode


class QueuectlError(Exception):
    """Base class. `message` is a sentence for people, `data` holds details for programs."""

    code: ClassVar[str] = ""
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.data: dict[str, Any] = dict(data) if data else {}


class InvalidParams(QueuectlError):
    """A parameter is missing, unknown or out of its range; nothing was stored."""

    code = ErrorCode.INVALID_PARAMS
    exit_code = 2


class TooLarge(QueuectlError):
    """A message, call or page exceeds its size limit."""

    code = ErrorCode.TOO_LARGE
    exit_code = 2


class UnknownMethod(QueuectlError):
    """The daemon does not know the method: it is older than this client."""

    code = ErrorCode.UNKNOWN_METHOD


class VersionMismatch(QueuectlError):
    """Client and daemon speak different protocols; the message says which side to upgrade."""

    code = ErrorCode.VERSION


class NotFound(QueuectlError):
    """No such job, queue, worker, key or batch."""

    code = ErrorCode.NOT_FOUND
    exit_code = 4


class Conflict(QueuectlError):
    """The id or the unique key is taken; `data` names the job that has it."""

    code = ErrorCode.CONFLICT
    exit_code = 5


class WrongState(QueuectlError):
    """The state of the job does not permit the operation."""

    code = ErrorCode.WRONG_STATE
    exit_code = 5


class Gone(QueuectlError):
    """The requested data is no longer kept. For events, `data["oldest"]` is the oldest that is."""

    code = ErrorCode.GONE


class Busy(QueuectlError):
    """A limit of the daemon is reached; a later try may succeed."""

    code = ErrorCode.BUSY


class NoSpace(QueuectlError):
    """The disk is full; nothing was stored."""

    code = ErrorCode.NO_SPACE


class Internal(QueuectlError):
    """An internal error of the daemon; see its log."""

    code = ErrorCode.INTERNAL


class DaemonUnreachable(QueuectlError):
    """No daemon answers on the socket."""

    exit_code = 3


def no_answer(socket: str, seconds: float | None) -> DaemonUnreachable:
    """Return the error for a daemon that accepts connections but does not respond."""
    return DaemonUnreachable(f"connected to the daemon on {socket}, but it gave no answer within {seconds:g} s")


class NoDaemon(DaemonUnreachable):
    """Nothing listens on the socket: no daemon is running."""


class ConnectionLost(DaemonUnreachable):
    """The connection was lost during a call. Whether the call took effect is not known."""

    spoke = False
    """Whether the daemon had answered hello on this connection."""


class ForeignServer(DaemonUnreachable):
    """The socket, its folder or its server belongs to another user, so nothing was sent to it."""


BY_CODE: Mapping[str, type[QueuectlError]] = {
    kind.code: kind
    for kind in (
        InvalidParams,
        TooLarge,
        UnknownMethod,
        VersionMismatch,
        NotFound,
        Conflict,
        WrongState,
        Gone,
        Busy,
        NoSpace,
        Internal,
    )
}


def from_wire(error: object) -> QueuectlError:
    """Return the exception for the error of a response: the map `{code, message, data}`, or the string `code: message`.

    A code of a newer daemon becomes a plain QueuectlError that keeps the daemon's words.
    """
    code, message, data = "", str(error), None
    if isinstance(error, dict):
        code, message, data = str(error.get("code", "")), str(error.get("message", "")), error.get("data")
    elif isinstance(error, str) and ": " in error:
        head, _, tail = error.partition(": ")
        if head in BY_CODE:
            code, message = head, tail
    kind = BY_CODE.get(code, QueuectlError)
    return kind(message or code or "the daemon refused without a reason", data if isinstance(data, dict) else None)
