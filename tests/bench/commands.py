"""How long a command takes, from its start to its end, beside an interpreter that only imports what it must."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from statistics import median

from tests.bench.arena import Arena, arena
from tests.bench.report import Row, at_most, ms
from tests.bench.rounds import Scale, ratio, seconds, take_turns
from tests.support.daemon import QUEUECTL

FLOOR = 'python -c "import click, msgpack, socket"'
TIMES = 20
COMMANDS = {
    "status": ("status",),
    "enqueue": ("enqueue", "-q", "echo out"),
    "list --json": ("list", "--json"),
}
LISTED = 100


def measure(scale: Scale) -> list[Row]:
    """Each command with a daemon that runs already."""
    times = min(TIMES, scale.calls)
    with arena() as ours:
        ours.client.enqueue_many(["echo out"] * LISTED)
        floor = [sys.executable, "-c", "import click, msgpack, socket"]
        contestants = {FLOOR: _typical(ours, floor, times)}
        for name, words in COMMANDS.items():
            contestants[name] = _typical(ours, [QUEUECTL, *words], times)
        found = take_turns(contestants, scale.rounds)
    return [
        Row(f"queuectl {name}", ms(median(found[name])), FLOOR, ms(median(found[FLOOR])),
            ratio(found[name], found[FLOOR]), at_most(1.3) if name == "status" else None)
        for name in COMMANDS
    ]  # fmt: skip


def _typical(ours: Arena, command: Sequence[str], times: int) -> Callable[[], float]:
    def once() -> None:
        subprocess.run(command, env=ours.home.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)

    return lambda: median(seconds(once) for _ in range(times))
