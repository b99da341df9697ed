"""Sans-I/O procedures: generators that yield the steps of one or more calls.

For each step a procedure is sent the result or thrown the error; it returns its own result. Connection and
AsyncConnection perform the steps; the order of steps and the handling of errors are decided in the procedures (here,
in `upload`, `paging` and `waiting`), once for both.
"""

import time
from collections.abc import Generator, Iterable, Mapping
from typing import Any, Final, NamedTuple, TypeVar

from queuectl_client.errors import ConnectionLost
from queuectl_client.session import is_wait, may_repeat, patience_s

T = TypeVar("T")

REPEATS: Final = 4
"""Repeats of a call without progress. More than one, because a dying daemon closes its descriptors one by one and may
still accept connections after it closed ours."""


class Send(NamedTuple):
    """Send a call without waiting; the result is the handle for `Receive`. Calls take effect in sending order.

    Sent over the current connection. ConnectionLost if that is lost: the next one knows nothing of the earlier calls.
    """

    method: str
    params: Mapping[str, Any]


class Receive(NamedTuple):
    """Wait for the answer to a call made by `Send`; the result is that of the call."""

    sent: Any


class CallOnce(NamedTuple):
    """Send a call and wait for its answer, without repeating it."""

    method: str
    params: Mapping[str, Any]


class Call(NamedTuple):
    """Make a call and repeat it after a lost connection where that is safe (see `calling`)."""

    method: str
    params: Mapping[str, Any]


class Reconnect(NamedTuple):
    """Reconnect once the daemon is back. `start`: a new daemon may be started."""

    start: bool


class OnOwnConnection(NamedTuple):
    """Run these steps on a separate connection, which is closed afterwards, also after an error."""

    steps: Generator[Any, Any, Any]


class Emit(NamedTuple):
    """Yield these items to the consumer of the stream."""

    items: Iterable[Any]


Step = CallOnce | Send | Receive | Call | Reconnect | OnOwnConnection | Emit
Steps = Generator[Step, Any, T]


def calling(method: str, params: Mapping[str, Any], patience: float | None, *, was_lost: bool) -> Steps[Any]:
    """Make a call; repeat it when the connection is lost before the answer, where that is safe.

    `patience`: seconds to wait for the answer of a non-waiting call. `was_lost`: the connection was lost while idle.
    Raises ConnectionLost where it is not known whether the call took effect.
    """
    began = time.monotonic()
    if was_lost:
        yield Reconnect(start=not is_wait(method, params))
    repeats: Repeats | None = None
    while True:
        try:
            return (yield CallOnce(method, params if repeats is None else repeats.params))
        except ConnectionLost as error:
            repeats = repeats or Repeats(method, params, patience, began)
            if not repeats.lost(spoke=error.spoke):
                raise
        yield Reconnect(start=not is_wait(method, params))


class Repeats:
    """Decides whether a call whose answer was lost is repeated, and with which parameters."""

    def __init__(self, method: str, params: Mapping[str, Any], patience: float | None, began: float) -> None:
        """`patience`: seconds to wait for the answer of a non-waiting call. `began`: time of the first attempt."""
        self.params: Mapping[str, Any] = params
        """Parameters of the next attempt; a wait gets its remaining timeout."""
        self._may_repeat = may_repeat(method, params)
        self._left = REPEATS
        whole = patience_s(method, params, patience)
        self._until = None if whole is None else began + whole
        timeout = params.get("timeout") if method == "job.wait" else None
        self._waits_until = None if timeout is None else began + timeout

    def lost(self, *, spoke: bool) -> bool:
        """Record a lost connection and return whether to repeat the call. `spoke`: it had answered on this connection.

        Any number of restarts is allowed, within the time limit of the call, as long as the daemon answers in between.
        """
        now = time.monotonic()
        if spoke and (self._until is None or now < self._until):
            self._left = REPEATS
        if not (self._may_repeat and self._left):
            return False
        self._left -= 1
        if self._waits_until is not None:
            self.params = {**self.params, "timeout": max(0.0, self._waits_until - now)}
        return True
