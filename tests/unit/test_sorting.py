"""Sorting what is more than is to be held."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from queuectl_client.cli.output import sorting
from queuectl_client.cli.output.listing import Order

VALUES = st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.booleans())
RANKS = st.one_of(
    st.lists(st.tuples(st.booleans(), VALUES, st.integers(0, 99)).map(list), max_size=60),
    st.lists(st.tuples(st.booleans(), st.text(max_size=5), st.integers(0, 99)).map(list), max_size=60),
)


@pytest.fixture(autouse=True)
def few_are_held(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sorting, "RUN", 7)
    monkeypatch.setattr(sorting.tempfile, "tempdir", str(tmp_path))


@given(ranks=RANKS, reverse=st.booleans(), count=st.integers(1, 20))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_runs_laid_down_and_merged_are_what_sorted_gives(ranks: list[sorting.Rank], reverse: bool, count: int) -> None:
    expected = sorted(ranks, reverse=reverse)
    assert list(sorting.sort(iter(ranks), reverse=reverse)) == expected
    assert list(sorting.first(count, iter(ranks), reverse=reverse)) == expected[:count]


def test_no_more_is_held_than_a_run_and_nothing_is_left_behind(tmp_path: Path) -> None:
    taken = 0

    def source() -> Iterator[sorting.Rank]:
        nonlocal taken
        for number in range(100):
            taken += 1
            yield [100 - number]

    ordered = sorting.sort(source())
    assert taken == 100
    assert next(ordered) == [1]
    assert [rank for (rank,) in ordered] == list(range(2, 101))
    assert list(tmp_path.iterdir()) == [], "not even while it was in use had it a name"


@pytest.mark.parametrize("descending", [False, True])
def test_what_is_absent_comes_last_and_ties_are_in_the_order_of_enqueueing(descending: bool) -> None:
    jobs = [{"seq": 1, "k": None}, {"seq": 2, "k": 5}, {"seq": 3, "k": 7}, {"seq": 4, "k": 5}, {"seq": 5, "k": None}]
    order = Order("k", descending)
    ranks = sorting.sort(map(order.rank, jobs), reverse=descending)
    assert [abs(rank[-1]) for rank in ranks] == ([3, 2, 4, 1, 5] if descending else [2, 4, 3, 1, 5])
