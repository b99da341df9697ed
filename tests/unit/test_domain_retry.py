"""Backoff and the lists of what is retried."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from queuectld.domain.retry import RetryPolicy

BASES = st.floats(1, 1_000)
MAXIMA = st.floats(0.001, 10 * 365 * 86_400)
JITTERS = st.floats(0, 1)
CHANCES = st.floats(0, 1)
ATTEMPTS = st.integers(1, 1_000)


def policy(
    max_retries: int = 3, base: float = 2, maximum: float = 3_600, jitter: float = 0, **lists: tuple[int | str, ...]
) -> RetryPolicy:
    return RetryPolicy(max_retries, base, maximum, jitter, **lists)


def test_the_gaps_of_the_seed() -> None:
    gaps = [policy().backoff_ms(attempts) for attempts in range(1, 14)]
    assert gaps[:4] == [2_000, 4_000, 8_000, 16_000]
    assert gaps[10:] == [2_048_000, 3_600_000, 3_600_000]


@pytest.mark.parametrize(
    ("base", "attempts", "expected_ms"),
    [(1, 1, 1_000), (1, 1_000, 1_000), (1.5, 2, 2_250), (1_000, 1, 1_000_000), (1_000, 2, 3_600_000)],
)
def test_backoff_of_other_bases(base: float, attempts: int, expected_ms: int) -> None:
    assert policy(base=base).backoff_ms(attempts) == expected_ms


def test_a_maximum_below_the_base_wins() -> None:
    assert policy(base=10, maximum=0.5).backoff_ms(1) == 500


def test_a_power_past_its_maximum_is_not_computed() -> None:
    assert policy().backoff_ms(10**15) == 3_600_000  # would not end if it were


@given(BASES, MAXIMA, JITTERS, CHANCES, ATTEMPTS)
@example(2, 3_600, 0, 0, 100_000)
@example(1_000, 1e300, 0, 0, 1_000_000)
@example(1 + 2**-52, 3_600, 1, 1, 1_000)
def test_backoff_never_overflows_nor_passes_its_maximum(
    base: float, maximum: float, jitter: float, chance: float, attempts: int
) -> None:
    gap = policy(base=base, maximum=maximum, jitter=jitter).backoff_ms(attempts, chance)
    assert isinstance(gap, int)
    assert 0 <= gap <= math.ceil(maximum * 1_000)


@given(BASES, MAXIMA, JITTERS, CHANCES, ATTEMPTS)
def test_jitter_only_shortens_and_by_no_more_than_its_share(
    base: float, maximum: float, jitter: float, chance: float, attempts: int
) -> None:
    plain = policy(base=base, maximum=maximum).backoff_ms(attempts, chance)
    gap = policy(base=base, maximum=maximum, jitter=jitter).backoff_ms(attempts, chance)
    assert gap <= plain
    assert gap >= math.floor(plain * (1 - jitter)) - 1


@given(BASES, MAXIMA, ATTEMPTS)
def test_a_later_failure_never_waits_shorter(base: float, maximum: float, attempts: int) -> None:
    gaps = policy(base=base, maximum=maximum)
    assert gaps.backoff_ms(attempts) <= gaps.backoff_ms(attempts + 1)


@given(st.floats(1, 30), st.integers(1, 8))
def test_without_a_maximum_in_reach_it_is_the_power(base: float, attempts: int) -> None:
    gap = policy(base=base, maximum=1e12).backoff_ms(attempts)
    assert gap == pytest.approx(base**attempts * 1_000, abs=1, rel=1e-9)


@pytest.mark.parametrize(
    ("max_retries", "executions"), [(0, 1), (1, 1), (2, 2), (3, 3), (1_000, 1_000)], ids=lambda value: str(value)
)
def test_max_retries_counts_executions_and_one_is_the_least(max_retries: int, executions: int) -> None:
    allowing = policy(max_retries)
    begun = 1
    while allowing.allows(begun, 1, None):
        begun += 1
    assert begun == executions


@pytest.mark.parametrize(
    ("lists", "exit_code", "signal", "again"),
    [
        ({}, 1, None, True),
        ({}, None, "SIGSEGV", True),
        ({"retry_on": (75,)}, 75, None, True),
        ({"retry_on": (75,)}, 1, None, False),
        ({"retry_on": (75,)}, None, "SIGKILL", False),
        ({"retry_on": ("SIGKILL",)}, None, "SIGKILL", True),
        ({"retry_on": ("kill",)}, None, "SIGKILL", True),
        ({"retry_on": ("KILL", 9)}, 1, None, False),
        ({"no_retry_on": (2,)}, 2, None, False),
        ({"no_retry_on": (2,)}, 1, None, True),
        ({"no_retry_on": ("term",)}, None, "SIGTERM", False),
        ({"no_retry_on": ("term",)}, None, "SIGKILL", True),
        ({"retry_on": (1, 2), "no_retry_on": (2,)}, 2, None, False),
        ({"retry_on": (1, 2), "no_retry_on": (2,)}, 1, None, True),
        # An execution that could not start has neither: a list of what is retried does not name it.
        ({"retry_on": (1,)}, None, None, False),
        ({"no_retry_on": (1,)}, None, None, True),
    ],
)
def test_lists_of_exit_codes_and_signals(
    lists: dict[str, tuple[int | str, ...]], exit_code: int | None, signal: str | None, again: bool
) -> None:
    assert policy(**lists).allows(1, exit_code, signal) is again


def test_no_list_makes_more_executions_than_max_retries() -> None:
    assert not policy(3, retry_on=(1,)).allows(3, 1, None)
