"""The first jobs by any key are those that sorting all of them would give."""

from dataclasses import replace

import pytest

from queuectl_client.protocol import filters
from queuectl_client.protocol.attributes import KINDS
from queuectl_client.protocol.vocabulary import JobState
from queuectld.store.reads import listings, ordering
from queuectld.store.records import ListQuery
from tests.store import verbs
from tests.store.lab import Lab, in_lab, new


async def _some_jobs(lab: Lab) -> None:
    """Forty jobs of which hardly two are alike, in several states, of a clock that was set back."""
    for number in range(40):
        lab.wall_ms += -90_000 if number % 7 == 3 else 1_000 * number
        job = await lab.add(
            f"echo {number % 5}" if number % 3 else ["a b", str(number)], priority=number % 4 - 2, hold=number % 6 == 5,
            queue=f"q{number % 3}", name=None if number % 4 else f"n{number % 8}", slots=1 + number % 2,
            run_at_ms=lab.wall_ms - 5 if number % 9 == 1 else None,
        )  # fmt: skip
        if number % 5 == 4:
            await verbs.cancel(lab.store, [job.seq], now=lab.now)


def _expected(values: list[tuple[int, object]], descending: bool) -> list[int]:
    """Python's sort, which is stable: those without a value last, either way."""
    valued = sorted((each for each in values if each[1] is not None), key=lambda each: each[1], reverse=descending)  # type: ignore[arg-type,return-value]
    return [seq for seq, _ in [*valued, *(each for each in values if each[1] is None)]]


@in_lab
async def test_the_first_by_any_key_either_way_from_slices_of_any_length(lab: Lab) -> None:
    await _some_jobs(lab)
    asked = ListQuery(now_ms=lab.now.wall_ms)
    states = list(JobState)
    for window in (7, listings.MAX_LOOKED_AT):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(listings, "MAX_LOOKED_AT", window)
            for key in KINDS:
                for descending in (False, True):
                    listing = await lab.store.queries.first_by(replace(asked, limit=11), key, descending=descending)
                    with pytest.MonkeyPatch.context() as whole:
                        whole.setattr(listings, "MAX_LOOKED_AT", 5_000)
                        rows = (await lab.store.queries.rows(asked, ("seq", key))).rows
                    values = [(seq, states.index(JobState(value)) if key == "state" else value) for seq, value in rows]
                    if key == "command":
                        values = [(seq, v if isinstance(v, str) else f"'a b' {v[1]}") for seq, v in values]
                    assert listing.seqs == _expected(values, descending)[:11], (key, descending, window)


@in_lab
async def test_the_first_of_those_that_a_listing_asks_for(lab: Lab) -> None:
    await _some_jobs(lab)
    for query in (
        ListQuery(states=frozenset({JobState.HELD, JobState.DEAD}), limit=3),
        ListQuery(queue="q1", where=filters.parse("state in (pending, held)"), limit=3),
        ListQuery(where=filters.parse("state=pending and state=dead"), limit=3),
    ):
        best = await lab.store.queries.page(await lab.store.queries.first_by(query, "created_at", descending=True))
        every = (await lab.store.queries.page(replace(query, limit=100))).jobs
        assert [job.seq for job in best.jobs] == [
            job.seq for job in sorted(every, key=lambda job: (-job.created_ms, job.seq))[:3]
        ]
        assert best.next is None


@in_lab
async def test_no_more_is_kept_of_a_slice_than_is_asked_for(lab: Lab) -> None:
    await lab.store.intake.add_many([new()] * 500, now=lab.now)
    rows, after = await lab.store._reader.submit(
        lambda connection: ordering.slice_of(connection, ListQuery(), "priority", False, 3)
    )
    assert [seq for _, seq in rows] == [1, 2, 3]
    assert after is None
