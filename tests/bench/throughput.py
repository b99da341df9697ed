"""How many short jobs a second go through, beside xargs and the programs that people would take instead.

Ours are stored with fsync before they run, keep their output, and leave attempts and events behind. The clock runs
from before the first is enqueued until the last outcome is stored. xargs keeps nothing: it is the floor.
"""

import resource
from collections.abc import Callable
from contextlib import ExitStack
from statistics import median

from tests.bench import rivals
from tests.bench.arena import WORKERS, Arena, arena
from tests.bench.report import Row, at_least, ms, per_second
from tests.bench.rounds import Rounds, Scale, ratio, seconds, take_turns

OURS, XARGS = "queuectl", "xargs -P2"


def measure(scale: Scale) -> list[Row]:
    """Rates, and the processor time of a job."""
    with ExitStack() as stack:
        ours = stack.enter_context(arena(WORKERS))
        ours.run(commands(WORKERS))
        cpu: Rounds = {OURS: [], XARGS: []}
        contestants = {OURS: lambda: _ours(ours, scale.jobs, cpu), XARGS: lambda: _xargs(scale.jobs, cpu)}
        for name, enter in rivals.available().items():
            contestants[name] = _rate_of(stack.enter_context(enter()), scale.rival_jobs)
        rates = take_turns(contestants, scale.rounds)
    rows = [_row(rates, name) for name in contestants if name != OURS]
    mine, theirs = median(cpu[OURS]), median(cpu[XARGS])
    rows.append(Row(
        "processor time of a job", ms(mine), "its shell alone, by xargs", ms(theirs), ratio(cpu[OURS], cpu[XARGS])
    ))  # fmt: skip
    rows += [Row("short jobs, 4 workers", "", name, "not installed", None) for name in rivals.missing()]
    return rows


def commands(count: int) -> list[str]:
    """Short jobs."""
    return [f"echo out {number}" for number in range(count)]


def _row(rates: Rounds, name: str) -> Row:
    budget = at_least(0.6) if name == XARGS else at_least(1)
    mine, theirs = median(rates[OURS]), median(rates[name])
    return Row(
        "short jobs, 4 workers", per_second(mine), name, per_second(theirs), ratio(rates[OURS], rates[name]), budget
    )  # fmt: skip


def _ours(ours: Arena, count: int, cpu: Rounds) -> float:
    before = ours.cpu_seconds()
    took = seconds(lambda: ours.run(commands(count)))
    cpu[OURS].append((ours.cpu_seconds() - before) / count)
    return count / took


def _xargs(count: int, cpu: Rounds) -> float:
    before = _children_seconds()
    took = seconds(lambda: rivals.xargs(count))
    cpu[XARGS].append((_children_seconds() - before) / count)
    return count / took


def _children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _rate_of(run: rivals.Run, count: int) -> Callable[[], float]:
    return lambda: count / seconds(lambda: run(count))
