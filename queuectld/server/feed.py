"""The events that one client follows, at the pace at which it reads.

A reader that falls behind is taken off the bus, so that nothing piles up for it here, and put back on after the
last event it was sent once it reads again. One that never does is dropped by its connection.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from queuectl_client.protocol.rpc import notification
from queuectld.domain.errors import Refused
from queuectld.scheduler.bus import Deliver, Subscription
from queuectld.server.views import event_view
from queuectld.store.records import Event

log = logging.getLogger(__name__)

Subscribe = Callable[[int, Deliver], Awaitable[Subscription]]
"""Takes a place on the bus: the events after a number, first those stored, then as they come."""


class EventFeed:
    """Sends events as notifications. `lost` is called when the reader cannot be told all that it is owed."""

    def __init__(
        self,
        subscribe: Subscribe,
        since: int,
        *,
        send: Callable[[bytes], None],
        may_send: Callable[[], bool],
        lost: Callable[[], None],
    ) -> None:
        self._subscribe = subscribe
        self._sent = since
        """The number of the last event that was sent; what follows it is still owed."""
        self._send = send
        self._may_send = may_send
        self._lost = lost
        self._answered = False
        self._behind = False
        self._closed = False
        self._subscription: Subscription | None = None
        self._catching_up: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Take the place on the bus; nothing is sent before `release`. Refused (gone) when `since` is not kept."""
        self._set_subscription(await self._subscribe(self._sent, self._deliver))

    def release(self) -> None:
        """The subscription has been answered: send, what was held back first."""
        self._answered = True
        self.resume()

    def resume(self) -> None:
        """The reader reads again."""
        if self._behind and self._answered and not self._closed and self._catching_up is None:
            self._catching_up = asyncio.get_running_loop().create_task(self._catch_up())

    def close(self) -> None:
        """Send nothing any longer."""
        self._closed = True
        if self._subscription is not None:
            self._subscription.close()
            self._subscription = None
        if self._catching_up is not None:
            self._catching_up.cancel()

    async def _catch_up(self) -> None:
        try:
            self._behind = False
            self._set_subscription(await self._subscribe(self._sent, self._deliver))
        except Refused:
            self._lost()
        finally:
            self._catching_up = None
        # It may have fallen behind again, and read on again, while the past was read from the store.
        if self._may_send():
            self.resume()

    def _set_subscription(self, subscription: Subscription) -> None:
        if self._behind or self._closed:
            subscription.close()
        else:
            self._subscription = subscription

    def _deliver(self, events: Sequence[Event]) -> None:
        if self._closed or self._behind:
            return
        if not self._answered or not self._may_send():
            # From here on everything is read from the store again, later: a gap would be worse than a second reading.
            self._behind = True
            if self._subscription is not None:
                self._subscription.close()
                self._subscription = None
            return
        try:
            frames = b"".join([notification("event", event_view(event)) for event in events])
        except Exception as error:  # called while a commit is told to the daemon: a fault here is this reader's alone
            log.error("an event cannot be told to a reader, which is let go", exc_info=error)
            self._lost()
            return
        self._sent = events[-1].event_seq
        self._send(frames)
