"""How soon a daemon is ready, with an empty store and with two million rows in it."""

from contextlib import ExitStack
from functools import partial
from statistics import median

from tests.bench.arena import Arena, arena, pss_bytes
from tests.bench.report import Row, at_most, mib, ms
from tests.bench.rounds import Scale, ratio, seconds, take_turns
from tests.bench.stores import fill

EMPTY, FULL = "empty", "full"


def measure(scale: Scale) -> list[Row]:
    """From the start of the process to `ready`, by turns."""
    waiting = scale.sizes[-1]
    with ExitStack() as stack:
        arenas = {
            EMPTY: stack.enter_context(arena()),
            FULL: stack.enter_context(arena(prepare=partial(fill, waiting=waiting, finished=scale.finished))),
        }
        found = take_turns({name: partial(_start, each) for name, each in arenas.items()}, scale.rounds)
        memory = pss_bytes(arenas[FULL].pid)
    rows = f"{waiting + scale.finished:,} rows"
    return [
        Row(f"daemon start, {rows}", ms(median(found[FULL])), "an empty store", ms(median(found[EMPTY])),
            ratio(found[FULL], found[EMPTY])),
        Row("  in seconds", "", "budget, s", "", median(found[FULL]), at_most(1)),
        Row(f"memory of the daemon, {rows}", mib(memory), "budget, MiB", "", memory / 2**20, at_most(60)),
    ]  # fmt: skip


def _start(each: Arena) -> float:
    each.down()
    return seconds(each.up)
