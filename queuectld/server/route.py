"""What a method is to the server: who carries it out, and what of its parameters changes its effect on others."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from queuectl_client.protocol.messages import Defaults, EventsSubscribe
from queuectld.scheduler.service import Service


@dataclass(slots=True)
class OpenBatch:
    """A batch that is not committed: the keys laid under its jobs, and the queues of those that have come."""

    defaults: Defaults
    queues: set[str] = field(default_factory=set)


class Caller(Protocol):
    """What a handler may ask of the connection its call came over."""

    @property
    def batches(self) -> MutableMapping[str, OpenBatch]:
        """The batches opened over this connection, by token."""
        ...

    def __hash__(self) -> int:
        """It stands for its client, by identity."""
        ...

    async def follow(self, request: EventsSubscribe) -> int:
        """Send the events asked for as notifications, once the call under way is answered.

        Returns the number of the event after which they begin. Refused (gone) when that is no longer kept.
        """
        ...


Handler = Callable[[Service, Caller, Any], Awaitable[Any]]
"""Decoded request in, wire value out. The peer also stands for the client as the owner of its workers."""


class Route(NamedTuple):
    """One method."""

    handle: Handler
    runs_alone: Callable[[Caller, Mapping[str, Any]], bool] | None = None
    """Whether a call with these parameters, not checked yet, looks something up first, so that it goes on its own."""
