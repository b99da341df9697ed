"""The event subscription of one client, with flow control.

A client that falls behind is unsubscribed, so that no events are buffered for it, and subscribed again after the last
event sent once it reads again. Its connection closes it if it never does.
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
"""Subscribes to the events after a number: first stored ones, then new ones."""


class EventFeed:
    """Sends events as notifications. `lost` is called when events cannot be delivered without a gap."""

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
        """The number of the last event sent."""
        self._send = send
        self._may_send = may_send
        self._lost = lost
        self._answered = False
        self._behind = False
        self._closed = False
        self._subscription: Subscription | None = None
        self._catching_up: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Subscribe; nothing is sent before `release`. Raises Refused (gone) if events after `since` were removed."""
        self._set_subscription(await self._subscribe(self._sent, self._deliver))

    def release(self) -> None:
        """Start sending: the subscription was answered."""
        self._answered = True
        self.resume()

    def resume(self) -> None:
        """Resume sending: the client reads again."""
        if self._behind and self._answered and not self._closed and self._catching_up is None:
            self._catching_up = asyncio.get_running_loop().create_task(self._catch_up())

    def close(self) -> None:
        """Stop sending."""
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
        # The client may have stopped and resumed reading again meanwhile.
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
            # Unsubscribe: these events are read from the store again later, without a gap.
            self._behind = True
            if self._subscription is not None:
                self._subscription.close()
                self._subscription = None
            return
        try:
            frames = b"".join([notification("event", event_view(event)) for event in events])
        except Exception as error:  # called during a commit's publication: a failure must affect only this client
            log.error("cannot encode an event; closing its subscription", exc_info=error)
            self._lost()
            return
        self._sent = events[-1].event_seq
        self._send(frames)
