"""The event bus: delivers committed events to subscribers, in commit order, without gaps or duplicates.

It keeps no events: a subscriber that returns reads the missed ones from the store first.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

from queuectl_client.protocol.vocabulary import ENDED_STATES, ErrorCode, EventKind
from queuectld.domain.errors import Refused
from queuectld.store.records import Committed, Event

REPLAY_PAGE: Final = 1000
"""Events read from the store at a time while a subscriber catches up."""

ENDING_KINDS: Final = frozenset(EventKind(f"job.{state}") for state in ENDED_STATES) | {EventKind.JOB_REMOVED}

Deliver = Callable[[Sequence[Event]], None]


class EventFilter(NamedTuple):
    """Which events a subscriber receives. None means no restriction."""

    kinds: frozenset[str] | None = None
    seq: int | None = None
    queue: str | None = None
    pool: int | None = None


class EventStore(Protocol):
    """The part of the store that the bus uses."""

    @property
    def last_event_seq(self) -> int: ...
    async def events_since(self, event_seq: int, limit: int) -> Sequence[Event]: ...
    async def oldest_event(self) -> int: ...


class Subscription:
    """One subscriber. Nothing is delivered after `close`."""

    def __init__(self, bus: "Bus", wanted: EventFilter, deliver: Deliver) -> None:
        self._bus = bus
        self._filter = wanted
        self._deliver = deliver
        self._last_seq = 0
        self._backlog: list[Event] | None = []

    def offer(self, events: Sequence[Event]) -> None:
        """Deliver new events, or buffer them while the subscriber catches up."""
        if self._backlog is not None:
            self._backlog.extend(events)
            return
        self.forward(events)

    def forward(self, events: Sequence[Event]) -> None:
        """Deliver the events that match the filter and were not delivered before."""
        chosen = [event for event in events if event.event_seq > self._last_seq and _matches(self._filter, event)]
        if events:
            self._last_seq = max(self._last_seq, events[-1].event_seq)
        if chosen:
            self._deliver(chosen)

    def go_live(self) -> None:
        """Deliver the buffered events; from now on deliver events as they come."""
        held, self._backlog = self._backlog, None
        self.forward(held or [])

    def start_after(self, event_seq: int) -> None:
        """Deliver nothing up to `event_seq`."""
        self._last_seq = event_seq

    def close(self) -> None:
        """Leave the bus."""
        self._bus.leave(self)


class Bus:
    """Forwards committed events to subscriptions and watches."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self._readers: set[Subscription] = set()
        self._watches: set[Watch] = set()
        self._end_watches: set[JobEndWatch] = set()

    def committed(self, commit: Committed) -> None:
        """Publish the events of a commit."""
        events = commit.events
        if not events:
            return
        for reader in tuple(self._readers):
            reader.offer(events)
        for watch in tuple(self._watches):
            watch.offer(events)
        if self._end_watches and (ends := [event for event in events if event.kind in ENDING_KINDS]):
            for each in tuple(self._end_watches):
                each.offer(ends)

    async def subscribe(self, wanted: EventFilter, since: int | None, deliver: Deliver) -> Subscription:
        """Deliver new events, after all events since number `since` if that is given.

        Raises Refused (gone) when events after `since` were removed, (invalid_params) when there is no such event yet.
        """
        reader = Subscription(self, wanted, deliver)
        self._readers.add(reader)
        try:
            if since is None:
                reader.start_after(self._store.last_event_seq)
            else:
                await self._catch_up(reader, since)
        except BaseException:
            self.leave(reader)
            raise
        reader.go_live()
        return reader

    def leave(self, reader: Subscription) -> None:
        """Remove a subscription."""
        self._readers.discard(reader)

    def watch(self) -> "Watch":
        """Return a watch on every event. Close it when done."""
        watch = Watch(self, None)
        self._watches.add(watch)
        return watch

    def watch_job_ends(self, on_end: Callable[[int, EventKind], bool]) -> "JobEndWatch":
        """Return a watch on jobs that end. Close it when done.

        `on_end(seq, kind)` is called for each job that ends or is removed; the watch wakes when it returns True.
        """
        watch = JobEndWatch(self, on_end)
        self._end_watches.add(watch)
        return watch

    def watch_job(self, seq: int) -> "Watch":
        """Return a watch on the events of one job. Close it when done."""
        watch = Watch(self, seq)
        self._watches.add(watch)
        return watch

    def drop(self, watch: "_Waiter") -> None:
        """Remove a watch."""
        if isinstance(watch, JobEndWatch):
            self._end_watches.discard(watch)
        else:
            self._watches.discard(watch)

    async def _catch_up(self, reader: Subscription, since: int) -> None:
        newest = self._store.last_event_seq
        if since > newest:
            # The number belongs to another store, or was mistyped.
            message = f"no such event yet: {since}; the newest is {newest}"
            raise Refused(ErrorCode.INVALID_PARAMS, message, {"key": "since", "newest": newest})
        oldest = await self._store.oldest_event()
        if since < oldest - 1:
            message = f"events up to {since} are no longer kept; the oldest is {oldest}"
            raise Refused(ErrorCode.GONE, message, {"oldest": oldest})
        reader.start_after(since)
        while events := await self._store.events_since(since, REPLAY_PAGE):
            reader.forward(events)
            since = events[-1].event_seq
            if len(events) < REPLAY_PAGE:
                break


class _Waiter:
    """Lets a coroutine wait for events. Create it before reading the store, so that no event is missed."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._wake = asyncio.Event()

    async def woken(self, deadline: float | None = None) -> bool:
        """Wait for an event since the last call. False when `deadline` (event loop time) passed first."""
        try:
            async with asyncio.timeout_at(deadline):
                await self._wake.wait()
        except TimeoutError:
            return False
        self._wake.clear()
        return True

    def close(self) -> None:
        """Leave the bus."""
        self._bus.drop(self)


class Watch(_Waiter):
    """Wakes on every event, or only on those of the job `seq`."""

    def __init__(self, bus: Bus, seq: int | None) -> None:
        super().__init__(bus)
        self._seq = seq

    def offer(self, events: Sequence[Event]) -> None:
        """Wake if one of the events matches."""
        if self._seq is None or any(event.seq == self._seq for event in events):
            self._wake.set()


class JobEndWatch(_Waiter):
    """Reports each job that ends or is removed, and wakes when its callback returns True."""

    def __init__(self, bus: Bus, on_end: Callable[[int, EventKind], bool]) -> None:
        super().__init__(bus)
        self._on_end = on_end

    def offer(self, ends: Sequence[Event]) -> None:
        """Report these events."""
        for event in ends:
            if event.seq is not None and self._on_end(event.seq, event.kind):
                self._wake.set()


def _matches(wanted: EventFilter, event: Event) -> bool:
    if wanted.kinds is not None and event.kind not in wanted.kinds:
        return False
    if wanted.seq is not None and event.seq != wanted.seq:
        return False
    if wanted.queue is not None and event.queue != wanted.queue:
        return False
    return wanted.pool is None or event.detail.get("pool") == wanted.pool
