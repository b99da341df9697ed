"""Routes: the handler of a method, and whether a call must run alone."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from queuectl_client.protocol.messages import Defaults, EventsSubscribe
from queuectld.scheduler.service import Service


@dataclass(slots=True)
class OpenBatch:
    """An uncommitted batch: the default keys of its jobs, and the queues of the jobs so far."""

    defaults: Defaults
    queues: set[str] = field(default_factory=set)


class Caller(Protocol):
    """The connection of a call, as its handler uses it. Identifies the client by identity."""

    @property
    def batches(self) -> MutableMapping[str, OpenBatch]:
        """The batches opened over this connection, by token."""
        ...

    def __hash__(self) -> int:
        """Hash by identity."""
        ...

    async def follow(self, request: EventsSubscribe) -> int:
        """Send the requested events as notifications, after the current call is answered.

        Returns the number of the event after which they begin. Raises Refused (gone) if later events were removed.
        """
        ...


Handler = Callable[[Service, Caller, Any], Awaitable[Any]]
"""Takes a decoded request, returns a wire value. The caller also identifies the client of foreground workers."""


class Route(NamedTuple):
    """One method."""

    handle: Handler
    runs_alone: Callable[[Caller, Mapping[str, Any]], bool] | None = None
    """Whether a call with these unchecked parameters must not run concurrently with others."""
