"""The room of removed jobs is given back soon after them, once for many, and never while nothing was removed."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from queuectl_client.protocol.vocabulary import ErrorCode, EventKind
from queuectld.domain.errors import Refused
from queuectld.scheduler import shrinking
from queuectld.scheduler.shrinking import Shrinker
from queuectld.store.records import FEW, Committed, Due, Event
from tests.support.eventually import eventually_async


class FakeStore:
    """Counts how often it is to give back; the answers are given."""

    def __init__(self, *answers: bool | Exception) -> None:
        self.upkeep = self
        self.answers = list(answers)
        self.asked = 0
        self.freed = 0

    async def free_memory(self) -> None:
        self.freed += 1

    async def give_back(self) -> bool:
        self.asked += 1
        answer = self.answers.pop(0) if self.answers else True
        if isinstance(answer, Exception):
            raise answer
        return answer


def commit(*kinds: EventKind) -> Committed:
    return Committed([Event(1, 0, kind, None, 1, None, None, None, {}) for kind in kinds], False, Due(None, None))


def shrinks(*answers: bool | Exception) -> Callable[[Callable[[FakeStore, Shrinker], Awaitable[None]]], Any]:
    """A test with a store that answers so, at 20 ms instead of seconds."""

    def decorate(scenario: Callable[[FakeStore, Shrinker], Awaitable[None]]) -> Callable[[pytest.MonkeyPatch], None]:
        def test(monkeypatch: pytest.MonkeyPatch) -> None:
            monkeypatch.setattr(shrinking, "SOON_S", 0.02)
            monkeypatch.setattr(shrinking, "LATER_S", 0.02)

            async def run() -> None:
                store = FakeStore(*answers)
                subject = Shrinker(cast(Any, store))
                task = asyncio.get_running_loop().create_task(subject.run())
                await eventually_async(lambda: store.asked >= 1)
                await scenario(store, subject)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                assert subject._timer is None or subject._timer.cancelled()

            asyncio.run(run())

        test.__name__ = scenario.__name__
        return test

    return decorate


@shrinks(True)
async def test_it_is_done_at_the_start_and_once_after_many_removals(store: FakeStore, subject: Shrinker) -> None:
    for _ in range(100):
        subject.committed(commit(EventKind.JOB_REMOVED))
    await eventually_async(lambda: store.asked == 2)
    assert subject._timer is None


@shrinks(True)
async def test_nothing_is_armed_where_nothing_was_removed(store: FakeStore, subject: Shrinker) -> None:
    subject.committed(commit(EventKind.JOB_COMPLETED, EventKind.JOB_CANCELLED))
    assert subject._timer is None
    subject.committed(commit(EventKind.JOBS_REMOVED))
    assert subject._timer is not None


@shrinks(False, Refused(ErrorCode.NO_SPACE, "The disk is full."), True)
async def test_it_is_tried_again_until_it_is_done(store: FakeStore, subject: Shrinker) -> None:
    await eventually_async(lambda: store.asked == 3)
    assert subject._timer is None


def changed(jobs: int) -> Committed:
    return commit()._replace(counts={(0, 1, "pending", 1): jobs, (0, 1, "held", 0): -jobs})


@shrinks(True)
async def test_memory_is_freed_once_after_much_work_and_not_before_it_ends(store: FakeStore, subject: Shrinker) -> None:
    subject.committed(changed(shrinking.MUCH // 4))
    assert subject._memory_timer is None
    subject.committed(changed(shrinking.MUCH // 4))
    assert subject._memory_timer is not None
    for goes_on in (changed(FEW), commit()._replace(unfinished=True)):
        subject.committed(goes_on)
        subject._memory_timer.cancel()
        subject._consider_memory()
        assert not subject._memory_is_due
    assert subject._memory_timer is not None, "the work went on, so it is considered again"
    await eventually_async(lambda: store.freed == 1)
    assert subject._memory_timer is None
    subject.committed(changed(FEW))
    assert subject._memory_timer is None
