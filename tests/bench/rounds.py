"""How a number comes about: contestants take turns in rounds, and medians speak for them.

A machine is never quiet for long. What is compared is measured in the same round, and the ratio is the median
of the rounds' ratios, so that a slow minute hits both sides.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import NamedTuple


class Scale(NamedTuple):
    """How much is measured. `sizes` are queue lengths, `finished` the ended jobs beside the longest queue."""

    rounds: int
    jobs: int
    rival_jobs: int
    calls: int
    bulk: int
    sizes: tuple[int, ...]
    finished: int
    idle_seconds: float
    sleepers: int


FULL = Scale(
    rounds=5,
    jobs=2_000,
    rival_jobs=1_000,
    calls=300,
    bulk=100_000,
    sizes=(1_000, 100_000, 1_000_000),
    finished=1_000_000,
    idle_seconds=10,
    sleepers=200,
)
SMALL = Scale(
    rounds=1,
    jobs=100,
    rival_jobs=20,
    calls=20,
    bulk=2_000,
    sizes=(100, 2_000),
    finished=2_000,
    idle_seconds=0.5,
    sleepers=20,
)

Rounds = dict[str, list[float]]


def take_turns(contestants: Mapping[str, Callable[[], float]], rounds: int) -> Rounds:
    """What each of them measured, round by round. The order rotates, so that nobody always goes first."""
    names = list(contestants)
    found: Rounds = {name: [] for name in names}
    for turn in range(rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            found[name].append(contestants[name]())
    return found


def ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """The median of the rounds' ratios."""
    return median(a / b for a, b in zip(above, below, strict=True))


def seconds(work: Callable[[], object]) -> float:
    """How long one call takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def typical(work: Callable[[], object], times: int) -> float:
    """The median of the seconds that each of several calls takes."""
    return median(seconds(work) for _ in range(times))


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
