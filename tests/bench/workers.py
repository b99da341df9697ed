"""The same jobs with 1 to 64 workers: more of them than cores bring nothing, and must cost nothing much."""

from collections.abc import Callable
from statistics import median

from tests.bench.arena import WORKERS, Arena, arena
from tests.bench.report import Row, at_least, per_second
from tests.bench.rounds import Scale, ratio, seconds, take_turns
from tests.bench.throughput import commands

COUNTS = (1, 2, 4, 8, 16, 64)


def measure(scale: Scale) -> list[Row]:
    """Rates, beside the one with four workers."""
    with arena() as ours:
        contestants = {str(count): _rate_with(ours, count, scale.jobs // 2) for count in COUNTS}
        rates = take_turns(contestants, scale.rounds)
    usual = str(WORKERS)
    return [
        Row(f"short jobs, {name} workers", per_second(median(rates[name])), f"{usual} workers",
            per_second(median(rates[usual])), ratio(rates[name], rates[usual]),
            at_least(0.7) if int(name) > WORKERS else None)
        for name in contestants
    ]  # fmt: skip


def _rate_with(ours: Arena, count: int, jobs: int) -> Callable[[], float]:
    def rate() -> float:
        ours.scale(count)
        return jobs / seconds(lambda: ours.run(commands(jobs)))

    return rate
