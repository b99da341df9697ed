"""Pages, filters and selectors; events, counts and the small tables."""

from typing import Any

import pytest

from queuectl_client.protocol.vocabulary import JobState
from queuectld.domain.errors import Refused
from queuectld.domain.retry import RetryPolicy
from queuectld.scheduler.jobs.selection import resolve_all
from queuectld.store.records import ListQuery, TimeAnchor
from tests.store import verbs
from tests.store.lab import Lab, in_lab, new


async def _ids(lab: Lab, **filters: Any) -> list[str]:
    """All ids of a listing, over all its pages."""
    found: list[str] = []
    after = None
    while True:
        page = await lab.store.queries.page(ListQuery(**filters, after=after))
        found.extend(job.id for job in page.jobs)
        if page.next is None:
            return found
        after = page.next


@in_lab
async def test_filters_hold_together(lab: Lab) -> None:
    await lab.add(id="a", name="night-1", labels={"k": "v", 'x."y': "ä"}, queue="q")
    lab.pass_time(1000)
    since = lab.wall_ms
    await lab.add(id="b", name="night-2", labels={"k": "w"}, hold=True)
    await lab.add(id="c", labels={"k": "v"}, retry=RetryPolicy(1, 2, 2))
    await lab.turn(
        [
            lab.end(await lab.claim(), 1),
        ]
    )
    await lab.turn([lab.end(await lab.claim(), 1)])
    await lab.add(id="d")
    await lab.claim()
    assert await _ids(lab) == ["a", "b", "c", "d"]
    assert await _ids(lab, newest_first=True) == ["d", "c", "b", "a"]
    assert await _ids(lab, newest_first=True, limit=1) == ["d", "c", "b", "a"]
    assert await _ids(lab, limit=1) == ["a", "b", "c", "d"]
    assert await _ids(lab, states=frozenset({JobState.DEAD})) == ["c"]
    assert await _ids(lab, states=frozenset({JobState.DEAD, JobState.HELD, JobState.FAILED})) == ["a", "b", "c"]
    assert await _ids(lab, states=frozenset({JobState.PROCESSING})) == ["d"]
    assert await _ids(lab, states=frozenset({JobState.PROCESSING, JobState.DEAD})) == ["c", "d"]
    assert await _ids(lab, states=frozenset({JobState.HELD, JobState.DEAD}), newest_first=True, limit=1) == ["c", "b"]
    assert await _ids(lab, queue="q") == ["a"]
    assert await _ids(lab, queue="nobody's") == []
    assert await _ids(lab, labels={"k": "v"}) == ["a", "c"]
    assert await _ids(lab, labels={"k": "v", 'x."y': "ä"}) == ["a"]
    assert await _ids(lab, name="night-*") == ["a", "b"]
    assert await _ids(lab, name="night-*", since_ms=since) == ["b"]
    with pytest.raises(Refused, match="next"):
        await lab.store.queries.page(ListQuery(after="x"))


@in_lab
async def test_a_page_is_bounded_in_rows_looked_at_and_in_bytes(lab: Lab) -> None:
    await lab.store.intake.add_many([new() for _ in range(6000)] + [new(name="rare")], now=lab.now)
    page = await lab.store.queries.page(ListQuery(name="rare"))
    assert (page.jobs, page.next) == ([], "5000")
    assert await _ids(lab, name="rare") == ["job_6001"]
    assert await _ids(lab, name="rare", newest_first=True) == ["job_6001"]
    assert len(await _ids(lab)) == 6001
    await lab.store.intake.add_many([new("x" * 300_000) for _ in range(6)], now=lab.now)
    page = await lab.store.queries.page(ListQuery(after="6001"))
    assert len(page.jobs) == 4
    assert page.next == "6005"


@in_lab
async def test_a_filter_finds_the_last_of_many(lab: Lab) -> None:
    await lab.store.intake.add_many([new() for _ in range(5100)] + [new(name="rare")], now=lab.now)
    assert await resolve_all(lab.store, ["name:rare"]) == [5101]


@in_lab
async def test_events_are_kept_in_order_and_only_the_newest(lab: Lab) -> None:
    for _ in range(30):
        await lab.add()
    kept = await lab.store.events_since(0, 100)
    assert kept == lab.events
    assert [event.event_seq for event in await lab.store.events_since(10, 5)] == [11, 12, 13, 14, 15]
    assert lab.store.last_event_seq == 30
    await lab.store.upkeep.prune_events(keep=4)
    assert await lab.store.oldest_event() == 27
    await lab.store.upkeep.prune_events(keep=0)
    await lab.restart()
    await lab.add()
    assert lab.events[-1].event_seq == 31


@in_lab
async def test_old_answers_are_forgotten(lab: Lab) -> None:
    await verbs.add(lab.store, new(), now=lab.now, request="old")
    lab.pass_time(1000)
    await verbs.add(lab.store, new(), now=lab.now, request="young")
    await lab.store.upkeep.prune_requests(lab.wall_ms)
    assert (await verbs.add(lab.store, new(), now=lab.now, request="young")).seq == 2
    assert (await verbs.add(lab.store, new(), now=lab.now, request="old")).seq == 3


@in_lab
async def test_settings_flags_and_the_anchor_survive_a_restart(lab: Lab) -> None:
    assert lab.store.time_anchor() is None
    anchor = TimeAnchor("boot", 1, 2, 3)
    await lab.store.save_anchor(anchor)
    await lab.store.config_set("max_retries", 5, now=lab.now)
    await lab.store.config_set("shell", ["/bin/sh", "-c"], now=lab.now)
    await lab.store.set_flag("suspended", True)
    await lab.restart()
    assert lab.store.time_anchor() == anchor
    assert lab.store.config() == {"max_retries": 5, "shell": ["/bin/sh", "-c"]}
    assert lab.store.flag("suspended") is True
    assert lab.store.flag("other") is None
    assert await lab.store.config_unset("shell", now=lab.now)
    assert not await lab.store.config_unset("shell", now=lab.now)
    assert lab.store.config() == {"max_retries": 5}
    assert lab.kinds().count("config.changed") == 3


@in_lab
async def test_pools_and_workers_are_known_until_they_end_and_never_numbered_again(lab: Lab) -> None:
    first = await lab.store.pool_add("foreground", 2, now=lab.now)
    worker = await lab.store.worker_add(first, 1, now=lab.now)
    await lab.store.worker_started(worker, 4711, 99, "boot", now=lab.now)
    (row,) = await lab.store.queries.workers()
    assert row[:7] == (worker, first, 1, "here", 4711, 99, "boot")
    assert lab.events[-1].detail == {"pool": first, "worker_number": 1, "pid": 4711}
    await lab.store.pool_set(first, 5)
    assert [(pool.kind, pool.wanted) for pool in await lab.store.queries.pools()] == [("foreground", 5)]
    await lab.store.worker_ended(worker, now=lab.now)
    await lab.store.worker_ended(worker, now=lab.now)
    await lab.store.pool_remove(first)
    assert lab.kinds() == ["worker.started", "worker.ended"]
    await lab.restart()
    assert (await lab.store.queries.workers(), await lab.store.queries.pools()) == ([], [])
    second = await lab.store.pool_add("job", 1, 7, now=lab.now)
    assert second > first
    assert await lab.store.worker_add(second, 1, now=lab.now) > worker


@in_lab
async def test_counts_by_queue(lab: Lab) -> None:
    await lab.add(queue="b")
    await lab.add(queue="b", delay_ms=1)
    await lab.add(queue="a", hold=True)
    rows = {row.name: (row.ready, row.counts[JobState.PENDING], row.counts[JobState.HELD]) for row in (
        await lab.store.queries.queues()
    )}  # fmt: skip
    assert rows == {"a": (0, 0, 1), "b": (1, 2, 0), "default": (0, 0, 0)}
    assert [job.seq for job in await lab.store.queries.processing()] == []
    await lab.claim()
    (busy,) = await lab.store.queries.processing()
    assert (busy.seq, busy.run, busy.id) == (1, 1, "job_1")
