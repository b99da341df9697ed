"""The bus: each reader hears what it wants, once, in order, and nothing after it has left."""

import asyncio
from collections.abc import Sequence

from queuectl_client.protocol.vocabulary import EventKind
from queuectld.scheduler.bus import Bus, EventFilter
from queuectld.store.records import Committed, Due, Event


class Kept:
    """Events as a store keeps them. One more happens while a reader looks for the oldest."""

    def __init__(self, *events: Event) -> None:
        self.events = list(events)
        self.bus = Bus(self)
        self.heard: list[int] = []

    @property
    def last_event_seq(self) -> int:
        return self.events[-1].event_seq

    async def events_since(self, event_seq: int, limit: int) -> Sequence[Event]:
        await asyncio.sleep(0)
        return [event for event in self.events if event.event_seq > event_seq][:limit]

    async def oldest_event(self) -> int:
        # A commit while the reader catches up: it is read from the store, and published.
        self.happen(event(self.last_event_seq + 1))
        return 1

    def happen(self, *events: Event) -> None:
        self.events += events
        self.bus.committed(Committed(events, ready=False, due=Due(None, None)))

    def hear(self, events: Sequence[Event]) -> None:
        self.heard += [event.event_seq for event in events]


def event(number: int, **detail: int) -> Event:
    return Event(number, 0, EventKind.JOB_PENDING, "job_1", 1, "default", None, None, detail)


def test_what_is_committed_while_a_reader_catches_up_reaches_it_once() -> None:
    async def scenario() -> None:
        store = Kept(event(1), event(2))
        await store.bus.subscribe(EventFilter(), 0, store.hear)
        store.happen(event(4))
        assert store.heard == [1, 2, 3, 4]

    asyncio.run(scenario())


def test_who_has_left_hears_nothing_more() -> None:
    async def scenario() -> None:
        store = Kept(event(1))
        reader = await store.bus.subscribe(EventFilter(), None, store.hear)
        store.happen(event(2))
        reader.close()
        store.happen(event(3))
        assert store.heard == [2]

    asyncio.run(scenario())


def test_a_reader_of_one_pool_hears_of_no_other() -> None:
    async def scenario() -> None:
        store = Kept(event(1))
        await store.bus.subscribe(EventFilter(pool=7), None, store.hear)
        store.happen(event(2), event(3, pool=8), event(4, pool=7))
        assert store.heard == [4]

    asyncio.run(scenario())
