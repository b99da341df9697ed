"""One job, enqueued over the SDK and on disk when it is acknowledged, beside a bare insert and commit."""

from statistics import median

from tests.bench.arena import arena
from tests.bench.bare import bare_store
from tests.bench.report import Row, at_most, ms
from tests.bench.rounds import Scale, ratio, take_turns, typical

OURS, BARE = "ours", "bare"
COMMAND = "echo out"


def measure(scale: Scale) -> list[Row]:
    """The typical wait of a caller that enqueues one job at a time."""
    with arena() as ours, bare_store() as insert:
        ours.client.enqueue(COMMAND)
        found = take_turns(
            {
                OURS: lambda: typical(lambda: ours.client.enqueue(COMMAND), scale.calls),
                BARE: lambda: typical(lambda: insert(COMMAND), scale.calls),
            },
            scale.rounds,
        )
    mine, theirs = median(found[OURS]), median(found[BARE])
    return [Row(
        "one enqueue, SDK", ms(mine), "bare SQLite insert + commit", ms(theirs), ratio(found[OURS], found[BARE]),
        at_most(3),
    )]  # fmt: skip
