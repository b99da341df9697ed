"""What a client does when the daemon went away in the middle of a call that may be made again."""

import socket
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from queuectl_client.errors import ConnectionLost, NoDaemon
from queuectl_client.paths import Paths
from queuectl_client.session import may_repeat, patience_s

AWAY_S: Final = 3.0
"""How long it is given to come back by itself: a service manager may be about to start the next one."""
AWAY_WAITING_S: Final = 5.0
"""The same where no daemon is started: for calls that only wait, as it may be gone because somebody ended it. Any other
call waits at least as long as it would for an answer."""
REPEATS: Final = 4
"""How often a call may be made again in vain. More than once: a daemon that dies closes its descriptors one by one, so
it may still seem to listen when ours is closed already."""


class Repeats:
    """Whether one call, whose answer was lost, is made again, and with which parameters."""

    def __init__(self, method: str, params: Mapping[str, Any], patience: float | None) -> None:
        """`patience`: seconds for an answer of a call that waits for nothing."""
        self.params: Mapping[str, Any] = params
        """What is to be sent next: of a wait that goes on, the rest of its time."""
        self._may_repeat = may_repeat(method, params)
        self._left = REPEATS
        now = time.monotonic()
        whole = patience_s(method, params, patience)
        self._until = None if whole is None else now + whole
        timeout = params.get("timeout") if method == "job.wait" else None
        self._waits_until = None if timeout is None else now + timeout

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


def reach_again(
    paths: Paths,
    *,
    start: bool,
    patience: float | None,
    reach: Callable[[], socket.socket],
    notice: Callable[[str], None] | None = None,
) -> socket.socket:
    """A connection to the daemon once it is back, or to one that `reach` starts. Raises ConnectionLost.

    `patience`: how many seconds it is waited for where none is started; None: AWAY_WAITING_S. `notice`: see
    `wait_for_daemon`.
    """
    from queuectl_client.returning import wait_for_daemon

    try:
        return wait_for_daemon(paths, AWAY_S if start else max(AWAY_WAITING_S, patience or 0), notice)
    except NoDaemon as error:
        if start:
            return reach()
        raise ConnectionLost(f"the daemon went away and did not come back: {error.message}") from None
