"""Lets each system call of daemon and workers fail, with each error it can give, beside a running load.

    python -m tests.crash.inject --seed 7 --minutes 30
    python -m tests.crash.inject --only worker:running:sendto:ENOBUFS:2

Goes through all of them in an order that the seed decides, until the time is over. After each: every job ended as it
must, the store is whole, the daemon serves or has stopped in words, nothing hangs, nothing spins, `daemon stop --now`
comes back. Prints what was wrong; exit code 1 then. Needs strace.
"""

import argparse
import random
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count, islice
from threading import Lock
from typing import Final

from tests.crash.calls import DAEMON, ERRORS, WITHOUT, WORKER
from tests.crash.injection import MOMENTS, Result, Trial, learn, run

WHENS: Final = (1, 2, 3, 5, 8, 13, 21, 34)
"""Which time a call fails in a thread; later times are as a rule not reached."""
TOLD_EVERY_S: Final = 60.0


def trials(dice: random.Random) -> Iterator[Trial]:
    """All pairs of call and error at each process and moment, in random order; then again with other numbers."""
    processes = (("daemon", DAEMON), ("worker", WORKER))
    pairs = [
        (who, moment, call, error)
        for who, calls in processes
        for moment in MOMENTS
        for call in calls
        for error in ERRORS[call]
    ]
    for times in count():
        dice.shuffle(pairs)
        for who, moment, call, error in pairs:
            yield Trial(who, moment, call, error, str(1 if times == 0 else dice.choice(WHENS)))


class Report:
    """What the trials had as a result. Used by several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._begun = self._told = time.monotonic()
        self.made = 0
        self.met = 0
        self.failed: list[Trial] = []

    def add(self, trial: Trial, result: Result) -> None:
        """One more; what was wrong is printed at once, and now and then how far it is."""
        with self._lock:
            self.made += 1
            self.met += result.met
            if result.faults:
                self.failed.append(trial)
                print(f"\n{trial}: {'; '.join(result.faults)[:3000]}\n  kept: {result.home}", flush=True)
            if time.monotonic() - self._told > TOLD_EVERY_S:
                self._told = time.monotonic()
                print(self.figures(), flush=True)

    def figures(self) -> str:
        """In one line."""
        seconds = time.monotonic() - self._begun
        return f"{seconds:.0f} s: {self.made} trials, the call failed in {self.met}, {len(self.failed)} broke a promise"


def main(arguments: list[str]) -> int:
    """Trials until the time is over, or those that are named. The exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.crash.inject", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="the order of the trials")
    parser.add_argument("--minutes", type=float, default=10, help="begin no trial later (default: 10)")
    parser.add_argument("--trials", type=int, help="no more than so many")
    parser.add_argument("--at-once", type=int, default=2, help="trials side by side (default: 2)")
    parser.add_argument("--only", nargs="+", type=Trial.parse, help="these trials alone, WHO:MOMENT:CALL:ERROR:WHEN")
    options = parser.parse_args(arguments)
    report = Report()
    if options.only:
        for trial in options.only:
            report.add(trial, run(trial))
    else:
        print(f"seed {options.seed}", flush=True)
        _tell_unlisted()
        waiting = islice(trials(random.Random(options.seed)), options.trials)
        _run_all(waiting, report, time.monotonic() + options.minutes * 60, options.at_once)
    print(report.figures())
    for trial in report.failed:
        print(f"python -m tests.crash.inject --only {trial}")
    return 1 if report.failed else 0


def _run_all(waiting: Iterator[Trial], report: Report, until: float, at_once: int) -> None:
    lock = Lock()

    def work() -> None:
        while time.monotonic() < until:
            with lock:
                trial = next(waiting, None)
            if trial is None:
                return
            report.add(trial, run(trial))

    with ThreadPoolExecutor(at_once) as pool:
        for done in [pool.submit(work) for _ in range(at_once)]:
            done.result()


def _tell_unlisted() -> None:
    """Calls that are made and that no trial lets fail."""
    for who, listed in (("daemon", DAEMON), ("worker", WORKER)):
        made = {call for moment in MOMENTS for call in learn(who, moment)}
        for call in sorted(made.difference(listed, WITHOUT)):
            print(f"the {who} makes {call}, which is not in tests/crash/calls.py", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
