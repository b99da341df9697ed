"""What a method is to the server: how its parameters are read, how it stands to its neighbours, who carries it out."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, NamedTuple, Protocol

from queuectl_client.protocol.messages import AnyRequest, Defaults, EventsSubscribe
from queuectld.scheduler.service import Service
from queuectld.server.order import Kind


class Peer(Protocol):
    """What a handler may ask of the connection its call came over."""

    @property
    def batches(self) -> MutableMapping[str, Defaults]:
        """The batches opened over this connection, by token, with the keys laid under their jobs."""
        ...

    def __hash__(self) -> int:
        """It stands for its client, by identity."""
        ...

    async def follow(self, request: EventsSubscribe) -> int:
        """Send the events asked for as notifications, once the call under way is answered.

        Returns the number of the event after which they begin. Refused (gone) when that is no longer kept.
        """
        ...


Handler = Callable[[Service, Peer, Any], Awaitable[Any]]
"""Decoded request in, wire value out. The peer also stands for the client as the owner of its workers."""


class Route(NamedTuple):
    """One method."""

    kind: Kind
    request: type[AnyRequest]
    handle: Handler
    waits_with: str | None = None
    """The parameter that makes a waiting call of it when it is true."""
    alone_with: Callable[[Peer, Mapping[str, Any]], bool] | None = None
    """Whether a call with these parameters, not checked yet, looks something up first, so that it goes on its own."""
