"""What a client does when the daemon went away in the middle of a call that may be made again."""

import socket
from collections.abc import Callable
from typing import Final

from queuectl_client.errors import ConnectionLost, NoDaemon
from queuectl_client.paths import Paths

AWAY_S: Final = 3.0
"""How long it is given to come back by itself: a service manager may be about to start the next one."""
AWAY_WAITING_S: Final = 5.0
"""The same for calls that only wait. They start no daemon: it may be gone because somebody ended it."""
REPEATS: Final = 4
"""How often a call may be made again. More than once: a daemon that dies closes its descriptors one by one, so it may
still seem to listen when ours is closed already."""


def reach_again(paths: Paths, *, start: bool, reach: Callable[[], socket.socket]) -> socket.socket:
    """A connection to the daemon once it is back, or to one that `reach` starts. Raises ConnectionLost."""
    from queuectl_client.returning import wait_for_daemon

    try:
        return wait_for_daemon(paths, AWAY_S if start else AWAY_WAITING_S)
    except NoDaemon as error:
        if start:
            return reach()
        raise ConnectionLost(f"the daemon went away and did not come back: {error.message}") from None
