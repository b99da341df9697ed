"""The bus: who hears of which event, in the order of the commits, without gap or double.

It is told only what a commit has returned. It keeps no events: whoever comes back reads the store first.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

from queuectl_client.protocol.vocabulary import ENDED_STATES, ErrorCode, EventKind
from queuectld.domain.errors import Refused
from queuectld.store.records import Committed, Event

REPLAY_PAGE: Final = 1000
"""Events read from the store at a time while a reader catches up."""

ENDING_KINDS: Final = frozenset(EventKind(f"job.{state}") for state in ENDED_STATES) | {EventKind.JOB_REMOVED}

Deliver = Callable[[Sequence[Event]], None]


class EventFilter(NamedTuple):
    """Which events a reader wants; None: no restriction."""

    kinds: frozenset[str] | None = None
    seq: int | None = None
    queue: str | None = None
    pool: int | None = None


class EventStore(Protocol):
    """What the bus needs of the store."""

    @property
    def last_event_seq(self) -> int: ...
    async def events_since(self, event_seq: int, limit: int) -> Sequence[Event]: ...
    async def oldest_event(self) -> int: ...


class Subscription:
    """One reader. `close` ends it; nothing is delivered afterwards."""

    def __init__(self, bus: "Bus", wanted: EventFilter, deliver: Deliver) -> None:
        self._bus = bus
        self._filter = wanted
        self._deliver = deliver
        self._last_seq = 0
        self._backlog: list[Event] | None = []

    def offer(self, events: Sequence[Event]) -> None:
        """Hand over new events, or keep them back while the reader still catches up."""
        if self._backlog is not None:
            self._backlog.extend(events)
            return
        self.forward(events)

    def forward(self, events: Sequence[Event]) -> None:
        """Deliver those that are wanted and were not delivered before."""
        chosen = [event for event in events if event.event_seq > self._last_seq and _matches(self._filter, event)]
        if events:
            self._last_seq = max(self._last_seq, events[-1].event_seq)
        if chosen:
            self._deliver(chosen)

    def go_live(self) -> None:
        """Deliver what was kept back, and from now on everything at once."""
        held, self._backlog = self._backlog, None
        self.forward(held or [])

    def start_after(self, event_seq: int) -> None:
        """Deliver nothing up to `event_seq`."""
        self._last_seq = event_seq

    def close(self) -> None:
        """Leave the bus."""
        self._bus.leave(self)


class Bus:
    """Passes committed events on to readers and to those who wait for a job."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self._readers: set[Subscription] = set()
        self._watches: set[Watch] = set()
        self._end_watches: set[JobEndWatch] = set()

    def committed(self, commit: Committed) -> None:
        """Tell everybody what a commit has stored."""
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
        """Deliver events from now on, or all after `since` first. Refused (gone) when `since` is no longer kept.

        Refused (invalid_params) when there is no such event yet.
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
        """Forget a reader."""
        self._readers.discard(reader)

    def watch(self) -> "Watch":
        """A watch on every event. Close it when done."""
        watch = Watch(self, None)
        self._watches.add(watch)
        return watch

    def watch_job_ends(self, told: Callable[[int, EventKind], bool]) -> "JobEndWatch":
        """A watch on the ends of jobs. `told` gets the seq and kind of each; True wakes. Close it when done."""
        watch = JobEndWatch(self, told)
        self._end_watches.add(watch)
        return watch

    def watch_job(self, seq: int) -> "Watch":
        """A watch on whatever happens to one job. Close it when done."""
        watch = Watch(self, seq)
        self._watches.add(watch)
        return watch

    def drop(self, watch: "_Waiter") -> None:
        """Forget a watch."""
        if isinstance(watch, JobEndWatch):
            self._end_watches.discard(watch)
        else:
            self._watches.discard(watch)

    async def _catch_up(self, reader: Subscription, since: int) -> None:
        newest = self._store.last_event_seq
        if since > newest:
            # What would follow has not happened yet: its number is of another store, or mistyped.
            message = f"there is no event {since} yet; the newest is {newest}"
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
    """Wakes who waits for something to happen. Set before the first look, so no event is missed."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._wake = asyncio.Event()

    async def woken(self, deadline: float | None = None) -> bool:
        """Whether something happened since the last call, before `deadline` (the event loop's time; None: whenever)."""
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
    """Wakes at whatever happens, or (with a seq) at whatever happens to one job."""

    def __init__(self, bus: Bus, seq: int | None) -> None:
        super().__init__(bus)
        self._seq = seq

    def offer(self, events: Sequence[Event]) -> None:
        """Wake when one of the events concerns this watch."""
        if self._seq is None or any(event.seq == self._seq for event in events):
            self._wake.set()


class JobEndWatch(_Waiter):
    """Tells of each job that ends or goes, and wakes where that matters."""

    def __init__(self, bus: Bus, told: Callable[[int, EventKind], bool]) -> None:
        super().__init__(bus)
        self._told = told

    def offer(self, ends: Sequence[Event]) -> None:
        """Tell of these ends."""
        for event in ends:
            if event.seq is not None and self._told(event.seq, event.kind):
                self._wake.set()


def _matches(wanted: EventFilter, event: Event) -> bool:
    if wanted.kinds is not None and event.kind not in wanted.kinds:
        return False
    if wanted.seq is not None and event.seq != wanted.seq:
        return False
    if wanted.queue is not None and event.queue != wanted.queue:
        return False
    return wanted.pool is None or event.detail.get("pool") == wanted.pool
