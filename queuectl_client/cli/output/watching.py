"""`queuectl list --watch`: a table that is drawn again when something has happened.

Woken by events, never by the clock; what happens within one interval makes one picture. Ctrl-C ends it (exit 130) and
leaves the last picture standing.
"""

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from queuectl_client.cli.invocation import Invocation
from queuectl_client.cli.output import render
from queuectl_client.errors import ConnectionLost
from queuectl_client.protocol.vocabulary import EventKind

Rows = list[list[str]]

RETURN_WITHIN_S: Final = 10.0
"""How long the next daemon is awaited. None is started: somebody may have ended it."""
_KINDS: Final = [str(kind) for kind in EventKind if kind.startswith(("job.", "jobs."))]
_AROUND: Final = 2
"""Lines of a terminal that are not rows: the heading, and that of the cursor."""


class Picture(Protocol):
    """Where the table is drawn."""

    def draw(self, rows: Rows) -> None: ...
    def room(self) -> int | None: ...
    def close(self) -> None: ...


def watch(invocation: Invocation, headers: Sequence[str], rows: Callable[[int | None], Rows], *, every: float) -> None:
    """Draw the rows, and again when jobs have changed: at most once in `every` seconds. Ends by KeyboardInterrupt.

    `rows` gets how many find room; None: as many as there are. Not on a terminal, each picture that differs from the
    one before follows it after an empty line.
    """
    picture: Picture = _screen(invocation, headers) if render.on_terminal() else _Pages(invocation, headers)
    try:
        while True:
            try:
                _follow(invocation, picture, rows, every)
            except ConnectionLost:
                invocation.say("The daemon is gone. Waiting for it to come back …")
                _await_daemon(invocation)
    finally:
        picture.close()


def _follow(invocation: Invocation, picture: Picture, rows: Callable[[int | None], Rows], every: float) -> None:
    client = invocation.client()
    # Before the first look, so that nothing falls between the two.
    client.call("events.subscribe", kinds=_KINDS)
    told = client.notifications()
    while True:
        begun = time.monotonic()
        picture.draw(rows(picture.room()))
        # A picture that took long, sorted out of a long queue, is not to keep the daemon busy all the time.
        took = time.monotonic() - begun
        next(told)
        client.drop_notifications(until=time.monotonic() + max(every, took))


def _await_daemon(invocation: Invocation) -> None:
    from queuectl_client.paths import resolve
    from queuectl_client.returning import wait_for_daemon

    invocation.close()
    wait_for_daemon(resolve(socket=invocation.socket), RETURN_WITHIN_S, invocation.say).close()


def _screen(invocation: Invocation, headers: Sequence[str]) -> Picture:
    from queuectl_client.cli.output.tables import Screen

    return Screen(headers, colours=invocation.colours(sys.stdout), around=_AROUND)


class _Pages:
    """Pictures one below the other, for a file or a pipe."""

    def __init__(self, invocation: Invocation, headers: Sequence[str]) -> None:
        self._invocation = invocation
        self._headers = headers
        self._last: Any = None

    def room(self) -> int | None:
        """There is no end of it."""
        return None

    def draw(self, rows: Rows) -> None:
        """Print the table, unless it is the same as before."""
        lines = list(render.aligned(self._headers, rows))
        if lines == self._last:
            return
        if self._last is not None:
            self._invocation.data("")
        for line in lines:
            self._invocation.data(line)
        sys.stdout.flush()
        self._last = lines

    def close(self) -> None:
        """Nothing is left behind."""
