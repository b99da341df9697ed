"""The feed of one reader, without a connection around it."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest

from queuectl_client.protocol.vocabulary import EventKind
from queuectld.scheduler.bus import Bus, EventFilter
from queuectld.server import feed
from queuectld.server.feed import EventFeed
from queuectld.store.records import Committed, Due, Event


class NoEvents:
    """A store in which nothing has happened yet."""

    last_event_seq = 0

    async def events_since(self, event_seq: int, limit: int) -> Sequence[Event]:
        return []

    async def oldest_event(self) -> int:
        return 1


def test_a_reader_that_cannot_be_told_an_event_is_let_go_and_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the fault would be one of the commit that is told, and the daemon would end for one reader's sake."""

    def view(event: Event) -> dict[str, Any]:
        if event.event_seq == 2:
            raise ZeroDivisionError
        return {"event_seq": event.event_seq}

    monkeypatch.setattr(feed, "event_view", view)

    async def scenario() -> None:
        bus = Bus(cast(Any, NoEvents()))
        sent: list[bytes] = []
        lost: list[bool] = []
        reader = EventFeed(
            lambda after, deliver: bus.subscribe(EventFilter(), after, deliver), 0,
            send=sent.append, may_send=lambda: True, lost=lambda: lost.append(True),
        )  # fmt: skip
        await reader.start()
        reader.release()
        waits = bus.watch()
        bus.committed(commit_of(event(1)))
        assert (len(sent), lost) == (1, [])
        bus.committed(commit_of(event(2)))
        assert (len(sent), lost) == (1, [True])
        assert await waits.woken(0), "who else is told is told"

    asyncio.run(scenario())


def commit_of(*events: Event) -> Committed:
    return Committed(events, ready=False, due=Due(None, None))


def event(number: int) -> Event:
    return Event(number, 0, EventKind.JOB_PENDING, "job_1", 1, "default", None, None, {})
