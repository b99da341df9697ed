"""Waits for very many jobs, over a real store: what they are answered, and what they ask the store for."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from queuectl_client.protocol.messages import JobWait
from queuectl_client.protocol.vocabulary import ErrorCode, JobState
from queuectld.domain.errors import Refused
from queuectld.scheduler.bus import Bus, JobEndWatch
from queuectld.scheduler.jobs import wait_calls as waits_module
from queuectld.scheduler.jobs.wait_calls import WaitPage, WaitService
from queuectld.store.records import Committed, Page
from tests.bench.effort import Meter
from tests.store import verbs
from tests.store.lab import Lab, new
from tests.support.eventually import eventually_async

MANY = 2_500


class Front(Lab):
    """A store whose commits are told on a bus, and the waits over both."""

    bus: Bus
    waits: WaitService

    def open(self) -> None:
        super().open()
        self.bus = Bus(self.store)
        self.waits = WaitService(self.store, self.bus)

    def _committed(self, committed: Committed) -> None:
        super()._committed(committed)
        self.bus.committed(committed)

    async def wait(self, *ids: str, **how: Any) -> WaitPage:
        return await self.waits.wait(JobWait.from_map({"ids": ids, **how} if ids else how))

    async def whole(self, waited: WaitPage, **how: Any) -> list[int]:
        """The numbers of all jobs of an answer, page by page."""
        found: list[int] = []
        while True:
            assert isinstance(waited.page, Page)
            found += [job.seq for job in waited.page.jobs]
            if waited.next is None:
                return found
            waited = await self.wait(after=waited.next, **how)

    async def fill(self, count: int = MANY, **fields: Any) -> list[int]:
        return (await self.store.intake.add_many([new(**fields)] * count, now=self.now)).seqs

    async def end(self, seqs: list[int]) -> None:  # type: ignore[override]
        for start in range(0, len(seqs), 500):
            await verbs.cancel(self.store, seqs[start : start + 500], now=self.now)


def in_front(scenario: Callable[[Front], Awaitable[None]]) -> Callable[[Path], None]:
    def test(tmp_path: Path) -> None:
        front = Front(tmp_path / "queuectl.db")

        async def run() -> None:
            front.open()
            try:
                await scenario(front)
            finally:
                await front.store.close()

        asyncio.run(run())

    test.__name__ = scenario.__name__
    return test


@in_front
async def test_any_number_is_answered_with_counts_the_first_failure_and_pages(front: Front) -> None:
    seqs = await front.fill()
    await front.end(seqs)
    for named in ([f"1-{MANY}"], ["@cancelled"], ["all"], [f"job_{seq}" for seq in seqs]):
        waited = await front.wait(*named)
        assert waited.ends.done
        assert waited.ends.counts == dict.fromkeys(JobState, 0) | {JobState.CANCELLED: MANY}
        assert waited.ends.first_failure is not None
        assert waited.ends.first_failure.seq == 1
        assert isinstance(waited.page, Page)
        assert len(waited.page.jobs) == 1_000
        assert await front.whole(waited) == seqs


@in_front
async def test_jobs_come_in_the_order_named_each_once_and_those_that_are_gone_are_left_out(front: Front) -> None:
    seqs = await front.fill(12)
    await front.end(seqs)
    await verbs.remove(front.store, [4], now=front.now)
    waited = await front.wait("2-5", "9", "job_3", "9", "@cancelled", limit=3)
    assert await front.whole(waited, limit=2) == [9, 3, 2, 5, 1, 6, 7, 8, 10, 11, 12]
    assert sum(waited.ends.counts.values()) == 11


@in_front
async def test_pages_are_about_the_jobs_that_were_waited_for_whatever_a_selector_stands_for_by_then(
    front: Front,
) -> None:
    seqs = await front.fill(10)
    waiting = asyncio.create_task(front.wait("@pending", limit=4))
    await eventually_async(lambda: front.bus._end_watches)
    await front.end(seqs)
    waited = await waiting
    await front.fill(5)
    assert await front.whole(waited, limit=4) == seqs


@in_front
async def test_a_job_that_ends_asks_the_store_for_nothing_however_many_are_waited_for(front: Front) -> None:
    efforts = []
    for count in (10, 10, MANY):  # the first one makes the rows of counts
        seqs = await front.fill(count)
        waiting = asyncio.create_task(front.wait(f"{seqs[0]}-{seqs[-1]}", limit=1))
        await eventually_async(lambda: front.bus._end_watches)
        looked = await front.wait(f"{seqs[0]}-{seqs[-1]}", timeout=0, limit=1)
        assert not looked.ends.done
        meter = Meter(front.store)
        efforts.append(await meter.of(1, lambda seqs=seqs: front.end(seqs[:5])))  # type: ignore[misc]
        assert not waiting.done()
        await front.end(seqs[5:])
        assert (await waiting).ends.done
    assert efforts[1].statements == efforts[2].statements


@in_front
async def test_an_end_between_the_look_and_its_answer_is_not_missed(front: Front) -> None:
    seqs = await front.fill(10)
    ask = front.store._reader.submit

    def late(question: Any) -> Any:
        """Jobs end when the store has been read and the answer is on its way."""
        return asyncio.ensure_future(after(ask(question)))

    async def after(answered: Any) -> Any:
        found = await answered
        front.store._reader.submit = ask  # type: ignore[method-assign]
        await front.end(seqs)
        return found

    for named in (["1-10"], [f"job_{seq}" for seq in seqs]):
        front.store._reader.submit = late  # type: ignore[method-assign]
        waited = await asyncio.wait_for(front.wait(*named), 20)
        assert waited.ends.done
        assert waited.ends.counts[JobState.CANCELLED] == 10
        await verbs.retry(front.store, seqs, now=front.now)


@in_front
async def test_any_ends_with_the_first_and_a_timeout_tells_how_they_stand(front: Front) -> None:
    seqs = await front.fill(1_500)
    waited = await front.wait("all", timeout=0)
    assert not waited.ends.done
    assert waited.ends.counts[JobState.PENDING] == 1_500
    assert waited.ends.first_failure is None
    waiting = asyncio.create_task(front.wait("all", any=True, limit=0))
    await eventually_async(lambda: front.bus._end_watches)
    await front.end(seqs[700:701])
    waited = await waiting
    assert waited.ends.done
    assert (waited.ends.counts[JobState.PENDING], waited.ends.counts[JobState.CANCELLED]) == (1_499, 1)
    assert waited.ends.first_failure is not None
    assert waited.ends.first_failure.seq == seqs[700]


@in_front
async def test_looking_the_jobs_up_counts_against_the_timeout(front: Front) -> None:
    seqs = await front.fill(10)
    loop, until, looked_up = asyncio.get_running_loop(), list[float | None](), list[float]()
    states, woken = front.store.queries.states, JobEndWatch.woken

    async def looking(some: Any) -> Any:
        looked_up.append(loop.time())
        return await states(some)

    async def woken_until(watch: JobEndWatch, deadline: float | None = None) -> bool:
        until.append(deadline)
        return await woken(watch, deadline)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(front.store.queries, "states", looking)
        patch.setattr(JobEndWatch, "woken", woken_until)
        assert not (await front.wait(*map(str, seqs), timeout=0.01)).ends.done
    assert until[0] is not None
    assert until[0] - 0.01 <= looked_up[0]


@in_front
async def test_removed_jobs_are_waited_for_no_longer(front: Front) -> None:
    seqs = await front.fill(10)
    waiting = asyncio.create_task(front.wait("all"))
    await eventually_async(lambda: front.bus._end_watches)
    await verbs.remove(front.store, seqs[:6], now=front.now)
    await front.end(seqs[6:])
    waited = await waiting
    assert waited.ends.done
    assert sum(waited.ends.counts.values()) == 4


@in_front
async def test_what_no_longer_is_kept_is_gone_and_what_was_never_told_is_refused(front: Front) -> None:
    await front.end(await front.fill(10))
    first = await front.wait("all", limit=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(waits_module, "MAX_CACHED", 3)
        for _ in range(3):
            await front.wait("all", limit=2)
    assert first.next is not None
    with pytest.raises(Refused) as gone:
        await front.wait(after=first.next)
    assert gone.value.code is ErrorCode.GONE
    for wrong in ("x", "a.b", "a.1.x", f"{first.next}.1x"):
        with pytest.raises(Refused):
            await front.wait(after=wrong)


@in_front
async def test_a_place_beyond_all_jobs_is_the_end(front: Front) -> None:
    await front.end(await front.fill(10))
    waited = await front.wait("all", limit=2)
    assert waited.next is not None
    token = waited.next.split(".")[0]
    for part, after in ((1, 10**40), (10**40, 0)):
        assert await front.whole(await front.wait(after=f"{token}.{part}.{after}")) == []


@in_front
async def test_an_answer_that_is_being_read_is_kept_longer_than_others(front: Front) -> None:
    await front.end(await front.fill(10))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(waits_module, "MAX_CACHED", 3)
        read = await front.wait("all", limit=2)
        others = [await front.wait("all", limit=2) for _ in range(2)]
        read = await front.wait(after=read.next, limit=2)
        await front.wait("all", limit=2)
        assert await front.whole(read, limit=2) == list(range(3, 11))
        with pytest.raises(Refused):
            await front.wait(after=others[0].next)


@in_front
async def test_a_wait_that_is_given_up_leaves_nothing_behind(front: Front) -> None:
    await front.fill(10)
    waiting = asyncio.create_task(front.wait("all"))
    await eventually_async(lambda: front.bus._end_watches)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    with pytest.raises(Refused):
        await front.wait("job_1", "nobody")
    assert not front.bus._end_watches
    assert not front.waits._cache
