"""What a client does with its calls, without I/O: the steps of a procedure, and what follows when one fails.

A procedure is a generator that yields steps. For each it is sent the result or thrown the error, and it returns its
own result. Connection and AsyncConnection take the steps and move the bytes; what comes after what is decided in the
procedures (here, in `upload`, `paging` and `waiting`), once for both.
"""

import time
from collections.abc import Generator, Iterable, Mapping
from typing import Any, Final, NamedTuple, TypeVar

from queuectl_client.errors import ConnectionLost
from queuectl_client.session import is_wait, may_repeat, patience_s

T = TypeVar("T")

REPEATS: Final = 4
"""How often a call may be made again in vain. More than once: a daemon that dies closes its descriptors one by one, so
it may still seem to listen when ours is closed already."""


class Send(NamedTuple):
    """Send a call and go on; the result is what a `Take` wants. Calls take effect in the order they are sent in.

    It goes over the connection that there is: ConnectionLost where that was lost, as the next one knows nothing of what
    went before.
    """

    method: str
    params: Mapping[str, Any]


class Take(NamedTuple):
    """Wait for the answer to a call that was sent; the result is the call's."""

    sent: Any


class Ask(NamedTuple):
    """Send a call and wait for its answer."""

    method: str
    params: Mapping[str, Any]


class Call(NamedTuple):
    """Ask, again where that is needed and does no harm (`calling`)."""

    method: str
    params: Mapping[str, Any]


class ReachAgain(NamedTuple):
    """Connect again to the daemon that went away, once it is back. `start`: one may be started in its place."""

    start: bool


class Apart(NamedTuple):
    """Take these steps over a connection of their own, which is closed once they are over, however they end."""

    steps: Generator[Any, Any, Any]


class Give(NamedTuple):
    """Hand these to who reads the procedure's output."""

    items: Iterable[Any]


Step = Ask | Send | Take | Call | ReachAgain | Apart | Give
Steps = Generator[Step, Any, T]


def calling(method: str, params: Mapping[str, Any], patience: float | None, *, was_lost: bool) -> Steps[Any]:
    """Make a call: again, when the daemon goes away before it has answered, provided that does no harm.

    `patience`: seconds for an answer of a call that waits for nothing. `was_lost`: the daemon went away while nothing
    was asked of it. Raises ConnectionLost where it is not known whether the call took effect.
    """
    began = time.monotonic()
    if was_lost:
        yield ReachAgain(start=not is_wait(method, params))
    repeats: Repeats | None = None
    while True:
        try:
            return (yield Ask(method, params if repeats is None else repeats.params))
        except ConnectionLost as error:
            repeats = repeats or Repeats(method, params, patience, began)
            if not repeats.lost(spoke=error.spoke):
                raise
        yield ReachAgain(start=not is_wait(method, params))


class Repeats:
    """Whether one call, whose answer was lost, is made again, and with which parameters."""

    def __init__(self, method: str, params: Mapping[str, Any], patience: float | None, began: float) -> None:
        """`patience`: seconds for an answer of a call that waits for nothing. `began`: when it was made first."""
        self.params: Mapping[str, Any] = params
        """What is to be sent next: of a wait that goes on, the rest of its time."""
        self._may_repeat = may_repeat(method, params)
        self._left = REPEATS
        whole = patience_s(method, params, patience)
        self._until = None if whole is None else began + whole
        timeout = params.get("timeout") if method == "job.wait" else None
        self._waits_until = None if timeout is None else began + timeout

    def lost(self, *, spoke: bool) -> bool:
        """The daemon went away; `spoke`: it had answered on this connection. Whether the call is made again.

        However often a daemon is restarted that answers in between, the call goes on for as long as it may take.
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
