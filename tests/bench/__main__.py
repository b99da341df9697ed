"""The one command: `python -m tests.bench [--small] [--only NAME]... [--rounds N] [--write]`."""

import argparse
import sys
import time

from tests.bench import (
    bulk,
    commands,
    document,
    enqueue,
    idle,
    latency,
    length,
    limits,
    machine,
    start,
    throughput,
    workers,
)  # fmt: skip
from tests.bench.report import as_text
from tests.bench.rounds import FULL, SMALL

MEASUREMENTS = {
    "throughput": ("Short jobs", throughput.measure),
    "enqueue": ("One durable enqueue", enqueue.measure),
    "bulk": ("Many jobs at once", bulk.measure),
    "latency": ("From the acknowledgement to the start", latency.measure),
    "commands": ("Commands, the whole process", commands.measure),
    "idle": ("Memory and wake-ups of what is idle", idle.measure),
    "workers": ("Few workers and many", workers.measure),
    "start": ("Start of the daemon", start.measure),
    "limits": ("Beside jobs that a limit holds back", limits.measure),
    "length": ("The same at every length of the queue", length.measure),
}


def main(arguments: list[str]) -> int:
    """Measure, print, and (`--write`) put it into docs/performance.md and its plot."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--small", action="store_true", help="once, and little of it: to see that all of it works")
    parser.add_argument("--only", action="append", choices=MEASUREMENTS, help="measure this alone (may be repeated)")
    parser.add_argument("--rounds", type=int, help="rounds, instead of what the scale says")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md and docs/performance.svg")
    options = parser.parse_args(arguments)
    if options.write and options.only:
        parser.error("--write writes the whole page; it does not go with --only")
    scale = SMALL if options.small else FULL
    if options.rounds:
        scale = scale._replace(rounds=options.rounds)
    about = machine.describe()
    print(f"{about}\nmedians of {scale.rounds} rounds\n", flush=True)
    tables = {}
    for name in options.only or MEASUREMENTS:
        title, measure = MEASUREMENTS[name]
        began = time.monotonic()
        tables[title] = measure(scale)
        print(as_text(title, tables[title]))
        print(f"  ({time.monotonic() - began:.0f} s)\n", flush=True)
    if options.write:
        document.write(about, scale, tables)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
