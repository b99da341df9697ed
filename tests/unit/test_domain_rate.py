"""How often jobs may start: never more in any window than the rate says, however they come."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectld.domain.rate import EXACT, Rate, Starts, read_rate, spacing_ms


def test_a_rate_is_a_number_and_a_unit() -> None:
    assert read_rate("10/m") == Rate(10, 60_000)
    assert read_rate("1/s") == Rate(1, 1_000)
    assert read_rate("300/d") == Rate(300, 86_400_000)
    assert read_rate(None) is None
    for text in ("0/m", "10", "10/w", "-1/s", "1/ m", "12345678/s"):
        with pytest.raises(ValueError):
            read_rate(text)


@given(
    st.sampled_from([Rate(1, 1000), Rate(3, 1000), Rate(EXACT + 3, 1000), Rate(200, 60_000)]),
    st.lists(st.integers(0, 700), max_size=400),
)
def test_no_window_has_more_starts_than_the_rate_says(rate: Rate, gaps: list[int]) -> None:
    now, starts = 0, ()
    really: list[int] = []
    for gap in gaps:
        now += gap
        if rate.used(starts, now) < rate.limit:
            assert rate.opens_ms(starts, now) == now
            starts = rate.after(starts, now)
            really.append(now)
        else:
            opens = rate.opens_ms(starts, now)
            assert opens > now
            assert rate.used(starts, opens - 1) >= rate.limit > rate.used(starts, opens)
    for end in really:
        assert sum(end - rate.period_ms < start <= end for start in really) <= rate.limit
    assert len(starts) <= EXACT + 1


def test_when_a_job_may_start_that_has_others_ahead_of_it() -> None:
    rate, starts = Rate(2, 1000), ((0, 1), (300, 1))
    assert [rate.opens_ms(starts, 400, ahead) for ahead in range(5)] == [1000, 1300, 2000, 2300, 3000]
    nothing: Starts = ()
    assert [rate.opens_ms(nothing, 400, ahead) for ahead in range(3)] == [400, 400, 1400]


def test_evenly_at_a_rate() -> None:
    assert [spacing_ms(Rate(10, 60_000), index) for index in (0, 1, 10)] == [0, 6_000, 60_000]
