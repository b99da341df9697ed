"""The verb that follows what happens."""

from collections.abc import Mapping
from typing import Any, Final

from queuectl_client.protocol import messages as wire
from queuectld.scheduler.service import Service
from queuectld.server.route import Caller, Route


async def subscribe(_service: Service, caller: Caller, request: wire.EventsSubscribe) -> Any:
    """The number of the event after which the notifications begin. They follow this answer."""
    return {"event_seq": await caller.follow(request)}


ROUTES: Final[Mapping[str, Route]] = {
    # On its own, so that a call sent after it makes no event that the subscription misses.
    "events.subscribe": Route(subscribe),
}
