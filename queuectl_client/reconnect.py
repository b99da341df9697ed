"""Reconnect to a daemon that went away. Imported only then: see `returning`."""

import socket
from collections.abc import Callable
from typing import Final

from queuectl_client.errors import ConnectionLost, NoDaemon
from queuectl_client.paths import Paths
from queuectl_client.returning import wait_for_daemon

AWAY_S: Final = 3.0
"""Seconds for the daemon to come back by itself: a service manager may be restarting it."""
AWAY_WAITING_S: Final = 5.0
"""The same for calls that only wait, which start no daemon, as it may have been stopped on purpose. Any other call
waits at least as long as it would for an answer."""


def reach_again(
    paths: Paths,
    *,
    start: bool,
    patience: float | None,
    reach: Callable[[], socket.socket],
    notice: Callable[[str], None] | None = None,
) -> socket.socket:
    """Return a connection to the daemon once it is back, or to one that `reach` starts. Raise ConnectionLost.

    `patience`: seconds to wait where no daemon is started; None: AWAY_WAITING_S. `notice`: see
    `wait_for_daemon`.
    """
    try:
        return wait_for_daemon(paths, AWAY_S if start else max(AWAY_WAITING_S, patience or 0), notice)
    except NoDaemon as error:
        if start:
            return reach()
        raise ConnectionLost(f"the daemon went away and did not come back: {error.message}") from None
