"""`python -m tests.mutation --seed 1 --mutants 300`: how many small changes of the product do the tests notice?"""

import argparse
import json
import random
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from tests.mutation import covering, mutants, trials
from tests.mutation.copies import ROOT, Copy

PACKAGES = [
    "queuectld/domain", "queuectld/store", "queuectld/scheduler", "queuectld/pool", "queuectld/worker",
    "queuectld/workerwire", "queuectl_client/protocol",
]  # fmt: skip


def main() -> int:
    """Draw the mutants, judge them, print who survived. 0 when none did."""
    options = _options()
    seed = options.seed if options.seed is not None else random.randrange(1 << 16)
    if options.again:
        drawn = [mutants.Mutant(**each) for each in json.loads(options.again.read_text())]
    else:
        drawn = mutants.sample(ROOT, options.packages, options.mutants, seed)
    print(f"seed {seed}: {len(drawn)} mutants of {', '.join(options.packages)}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="qm", dir="/tmp"))
    try:
        copies: SimpleQueue[Copy] = SimpleQueue()
        for number in range(options.jobs):
            copies.put(Copy(folder / str(number)))
        folders = [name for name in covering.ORDER if name in trials.FAST or not options.fast]
        lines = _lines(options.map, copies, folders)
        survivors = drawn if options.again else _round(drawn, copies, lines, options.jobs, slow=False)
        if not options.fast:
            print(f"{len(survivors)} outlived the fast tests; those run against e2e and crash now", flush=True)
            survivors = _round(survivors, copies, lines, options.jobs, slow=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"\n{len(drawn)} mutants, {len(survivors)} survived (seed {seed})")
    for one in survivors:
        print(f"{one.path}:{one.line}: {one.kind}: {one.before!r} -> {one.after!r}")
    if options.report:
        options.report.write_text(json.dumps([one._asdict() for one in survivors], indent=1))
    return 1 if survivors else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--seed", type=int, help="draw the same mutants again")
    parser.add_argument("--mutants", type=int, default=300)
    parser.add_argument("--packages", nargs="+", default=PACKAGES)
    parser.add_argument("--jobs", type=int, default=2, help="copies at once")
    parser.add_argument("--map", type=Path, help="a file to keep the map of lines and tests in, read when it exists")
    parser.add_argument("--fast", action="store_true", help="unit, store, component and compat alone")
    parser.add_argument("--again", type=Path, help="a report of --fast, on the same commit: e2e and crash alone")
    parser.add_argument("--report", type=Path, help="write the survivors as JSON")
    return parser.parse_args()


def _lines(path: Path | None, copies: "SimpleQueue[Copy]", folders: list[str]) -> covering.Lines:
    if path is not None and path.exists():
        return covering.load(path)
    copy = copies.get()
    lines = covering.measure(copy, folders)
    copies.put(copy)
    if path is not None:
        covering.save(lines, path)
    return lines


def _round(
    drawn: list[mutants.Mutant], copies: "SimpleQueue[Copy]", lines: covering.Lines, jobs: int, *, slow: bool
) -> list[mutants.Mutant]:
    """Judge all of them, several at once. Returns the survivors."""

    def judge(mutant: mutants.Mutant) -> mutants.Mutant | None:
        copy = copies.get()
        try:
            verdict = trials.judge(copy, mutant, lines, slow=slow)
        finally:
            copies.put(copy)
        end = f"noticed by {verdict.noticed_by}" if verdict.noticed_by else f"SURVIVED {verdict.tests} tests"
        print(f"{mutant.path}:{mutant.line} {mutant.kind}: {mutant.before!r} -> {mutant.after!r}: {end}", flush=True)
        return mutant if verdict.survived else None

    with ThreadPoolExecutor(jobs) as threads:
        return [survivor for survivor in threads.map(judge, drawn) if survivor is not None]


if __name__ == "__main__":
    sys.exit(main())
