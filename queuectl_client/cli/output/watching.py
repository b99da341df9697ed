"""`queuectl list --watch`: a table that is redrawn on changes.

Woken by events, not by a timer; the events of one interval are combined. Ctrl-C ends it (exit 130) and leaves the last
view on the screen.
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
"""Seconds to wait for the next daemon. None is started: it may have been stopped on purpose."""
_KINDS: Final = [str(kind) for kind in EventKind if kind.startswith(("job.", "jobs."))]
_AROUND: Final = 2
"""Lines of a terminal without rows: the heading and the cursor's line."""


class TableView(Protocol):
    """Destination of the table."""

    def draw(self, rows: Rows) -> None: ...
    def room(self) -> int | None: ...
    def close(self) -> None: ...


def watch(invocation: Invocation, headers: Sequence[str], rows: Callable[[int | None], Rows], *, every: float) -> None:
    """Draw the rows, and redraw them on changes, at most once in `every` seconds, until KeyboardInterrupt.

    `rows` is called with the number of rows that fit; None: no limit. If stdout is not a terminal, each changed view is
    printed after an empty line.
    """
    view: TableView = _terminal_view(invocation, headers) if render.on_terminal() else _PlainView(invocation, headers)
    try:
        while True:
            try:
                _follow(invocation, view, rows, every)
            except ConnectionLost:
                invocation.say("The daemon is gone. Waiting for it to come back …")
                _await_daemon(invocation)
    finally:
        view.close()


def _follow(invocation: Invocation, view: TableView, rows: Callable[[int | None], Rows], every: float) -> None:
    client = invocation.client()
    # Before the first query, so that no change is missed.
    client.call("events.subscribe", kinds=_KINDS)
    told = client.notifications()
    while True:
        begun = time.monotonic()
        view.draw(rows(view.room()))
        # A slow update, such as a sort of a long queue, must not keep the daemon busy all the time.
        took = time.monotonic() - begun
        next(told)
        client.drop_notifications(until=time.monotonic() + max(every, took))


def _await_daemon(invocation: Invocation) -> None:
    from queuectl_client.paths import resolve
    from queuectl_client.returning import wait_for_daemon

    invocation.close()
    wait_for_daemon(resolve(socket=invocation.socket), RETURN_WITHIN_S, invocation.say).close()


def _terminal_view(invocation: Invocation, headers: Sequence[str]) -> TableView:
    from queuectl_client.cli.output.tables import LiveTable

    return LiveTable(headers, colours=invocation.colours(sys.stdout), around=_AROUND)


class _PlainView:
    """Prints views one after the other, for a file or pipe."""

    def __init__(self, invocation: Invocation, headers: Sequence[str]) -> None:
        self._invocation = invocation
        self._headers = headers
        self._last: Any = None

    def room(self) -> int | None:
        """Return None: unlimited."""
        return None

    def draw(self, rows: Rows) -> None:
        """Print the table, unless it is the same as before."""
        lines = list(render.aligned(self._headers, rows, colours=self._invocation.colours(sys.stdout)))
        if lines == self._last:
            return
        if self._last is not None:
            self._invocation.data("")
        for line in lines:
            self._invocation.data(line)
        sys.stdout.flush()
        self._last = lines

    def close(self) -> None:
        """Do nothing."""
