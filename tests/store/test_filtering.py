"""Filters over a store: what fits, what an absent value is, and how far one call looks."""

from typing import Any

import pytest

from queuectl_client.protocol import filters
from queuectl_client.protocol.attributes import KINDS
from queuectl_client.protocol.vocabulary import JobState
from queuectld.domain.retry import RetryPolicy
from queuectld.server.views import job_view, row_views
from queuectld.store.mapping.columns import COLUMNS
from queuectld.store.reads import filtering
from queuectld.store.records import MAX_LOOKED_AT, ListQuery
from tests.store import verbs
from tests.store.lab import Lab, in_lab, new


async def _fit(lab: Lab, text: str, **more: Any) -> list[str]:
    """The ids of the jobs for which the filter holds, over all pages."""
    found: list[str] = []
    after = None
    while True:
        page = await lab.store.queries.page(
            ListQuery(where=filters.parse(text), now_ms=lab.wall_ms, after=after, **more)
        )
        found.extend(job.id for job in page.jobs)
        if page.next is None:
            return found
        after = page.next


async def _furnish(lab: Lab) -> None:
    """Jobs of many kinds: a is dead, b is held, c runs, d waits."""
    await lab.add(
        ["printf", "%s", "two words"], id="a", name="night-1", labels={"user": "ada", "x y": "1"},
        queue="q", retry=RetryPolicy(1, 2, 2),
    )  # fmt: skip
    claimed = await lab.claim()
    await lab.turn([lab.end(claimed, 3, finished_ms=lab.wall_ms + 12_000, duration_ms=12_000)])
    lab.pass_time(3_600_000)
    await lab.add("echo b", id="b", labels={"user": "bob"}, hold=True, timeout_ms=90_000, needs={"gpu": 2})
    await lab.add("echo c\udcff", id="c", once=True, batch="night", priority=9)
    await lab.claim()
    lab.pass_time(30_000)
    await lab.add("echo d", id="d", name="100%", delay_ms=600_000)


@in_lab
async def test_a_filter_is_evaluated_by_the_kind_of_its_keys(lab: Lab) -> None:
    await _furnish(lab)
    cases = {
        "state=dead": "a",
        "state in (dead, held)": "ab",
        "state not in (dead, held)": "cd",
        "not (state=dead or state=held)": "cd",
        "state=dead and state=held": "",
        "queue!=default": "a",
        "queue=nobody": "",
        "name~'night*'": "a",
        "name !~ 'night*'": "bcd",
        "name='100%'": "d",
        "name=none": "bc",
        "name!=none": "ad",
        "label.user=ada": "a",
        "label.user!=ada": "bcd",
        "label.user=none": "cd",
        "label.user in (ada, bob)": "ab",
        "label.'x y'=1": "a",
        "needs.gpu>1": "b",
        "not (needs.gpu>1)": "acd",
        "exit_code=3": "a",
        "exit_code!=3": "bcd",
        "not exit_code=3": "bcd",
        "exit_code<4": "a",
        "not (exit_code<4)": "bcd",
        "exit_code=none": "bcd",
        "signal=KILL or exit_code=3": "a",
        "duration>10s": "ac",
        "duration>20s": "c",
        "duration=none": "bd",
        "age>50m": "a",
        "age<=0": "d",
        "created_at>30m": "bcd",
        "created_at<'2000-01-01'": "",
        "run_at<+10m": "",
        "run_at<=+11m": "d",
        "timeout=90s": "b",
        "once": "c",
        "not once": "abd",
        "hold and timeout>1m": "b",
        "command~'printf*words*'": "a",
        "command='echo d'": "d",
        "command~'echo c*'": "c",
        "command~'*[\\\\]xff'": "c",
        "batch=night": "c",
        "priority>0 and batch=night": "c",
        "seq in (1, 4)": "ad",
        "worker!=none": "c",
        "id=b": "b",
    }
    found = {text: "".join(await _fit(lab, text)) for text in cases}
    assert found == cases
    backwards = {text: "".join(await _fit(lab, text, newest_first=True, limit=1)) for text in cases}
    assert backwards == {text: ids[::-1] for text, ids in cases.items()}


@in_lab
async def test_a_filter_and_the_other_conditions_hold_together(lab: Lab) -> None:
    await _furnish(lab)
    assert await _fit(lab, "exit_code=3 or hold", states=frozenset({JobState.HELD})) == ["b"]
    assert await _fit(lab, "state=dead", states=frozenset({JobState.HELD})) == []
    assert await _fit(lab, "state=dead", queue="q") == ["a"]
    assert await _fit(lab, "queue=q", queue="default") == []
    assert await _fit(lab, "not paused", seqs=(4, 99, 1), limit=1) == ["d", "a"]
    assert await _fit(lab, "state=dead", seqs=(4, 1)) == ["a"]
    assert await _fit(lab, "not paused", seqs=(4, 3), batch="night") == ["c"]


@in_lab
async def test_values_are_never_part_of_the_statement(lab: Lab) -> None:
    await lab.add(id="a", name="x' OR '1'='1", labels={"k') --": "v"})
    assert await _fit(lab, "name=\"x' OR '1'='1\"") == ["a"]
    assert await _fit(lab, 'name="\' OR 1=1 --"') == []
    assert await _fit(lab, 'label."k\') --"=v') == ["a"]
    assert await _fit(lab, 'label."\' OR 1=1"=v') == []


@in_lab
async def test_a_call_looks_at_so_many_jobs_and_no_more(lab: Lab) -> None:
    await lab.store.intake.add_many([new() for _ in range(6000)] + [new(name="rare")], now=lab.now)
    where = filters.parse("name=rare")
    page = await lab.store.queries.page(ListQuery(where=where))
    assert (page.jobs, page.next) == ([], str(MAX_LOOKED_AT))
    assert await _fit(lab, "name=rare") == ["job_6001"]
    seqs = range(1, 6002)
    page = await lab.store.queries.page(ListQuery(where=where, seqs=seqs))
    assert (page.jobs, page.next) == ([], str(MAX_LOOKED_AT))
    assert await _fit(lab, "name=rare", seqs=seqs) == ["job_6001"]
    await lab.store.intake.add_many([new("x" * 300_000) for _ in range(6)], now=lab.now)
    page = await lab.store.queries.page(ListQuery(seqs=range(6002, 6008)))
    assert ([job.seq for job in page.jobs], page.next) == ([6002, 6003, 6004, 6005], "4")


@in_lab
async def test_keys_had_alone_are_what_the_whole_job_shows(lab: Lab) -> None:
    await _furnish(lab)
    keys = [key for key in KINDS if key not in ("duration", "age")]
    whole = [job_view(job) for job in (await lab.store.queries.page(ListQuery())).jobs]
    few = row_views(keys, (await lab.store.queries.rows(ListQuery(now_ms=lab.wall_ms), keys)).rows)
    assert few == [{key: job[key] for key in keys} for job in whole]
    computed = ("duration", "age", "seq")
    (dead, *_, waiting) = row_views(
        computed, (await lab.store.queries.rows(ListQuery(now_ms=lab.wall_ms), computed)).rows
    )
    assert dead == {"duration": 12, "age": 3630, "seq": 1}
    assert waiting == {"duration": None, "age": 0, "seq": 4}


@in_lab
async def test_a_duration_is_that_of_the_newest_run_however_the_job_ended(lab: Lab) -> None:
    await lab.add(id="waited")
    await lab.turn([lab.end(await lab.claim(), 1)])
    lab.pass_time(1000)
    await verbs.cancel(lab.store, [1], now=lab.now)
    await lab.add(id="never-ran")
    await verbs.cancel(lab.store, [2], now=lab.now)
    await lab.add(id="ran")
    claimed = await lab.claim()
    lab.pass_time(500)
    await verbs.cancel(lab.store, [3], now=lab.now)
    durations = (await lab.store.queries.rows(ListQuery(now_ms=lab.wall_ms), ("id", "duration"))).rows
    assert [tuple(row) for row in durations] == [("waited", 7), ("never-ran", None), ("ran", 500)]
    await lab.turn([lab.end(claimed, None, duration_ms=600)])
    assert await _fit(lab, "duration=600ms") == ["ran"]
    assert await _fit(lab, "duration<10ms") == ["waited"]


def test_every_key_has_a_column() -> None:
    assert COLUMNS.keys() == KINDS.keys()


@pytest.mark.parametrize(
    "text, states",
    [
        ("state=dead", {"dead"}),
        ("state in (dead, held) and state=held", {"held"}),
        ("paused and state=dead and exit_code=1", {"dead"}),
        ("state!=dead", None),
        ("state=dead or paused", None),
        ("not state=dead", None),
    ],
)
def test_the_states_a_filter_names_are_known(text: str, states: set[str] | None) -> None:
    assert filtering.states_named(filters.parse(text)) == states
