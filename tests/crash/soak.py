"""The soak: jobs with marks run while daemon, workers or all of them are killed, over and over, at random moments.

    python -m tests.crash.soak --seed 7 --minutes 30

Ends with a line of figures; exit code 1, and the reason, when a promise was broken. The seed decides what is killed
and after how long; what that meets is up to the machine, so a seed is a lead and no replay.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import time
import uuid
from collections import Counter
from contextlib import suppress
from typing import Final

from tests.crash.marks import Marked
from tests.crash.stage import Stage
from tests.support.daemon import Home

WORKERS: Final = 4
ROUND_JOBS: Final = 60
"""Jobs that are waited for together; then all promises are checked."""
CRASH_LIMIT: Final = 1_000
"""So many kills in so short a time would make jobs dead by the usual limit."""
LONGEST_GAP_S: Final = 0.6
KILLS_A_ROUND: Final = 30
"""Then the jobs are let end: on a busy machine more would be killed than can be started again."""
PREY: Final = ("daemon", "daemon", "worker", "worker", "daemon and worker", "workers", "all")


class Soak:
    """Rounds of jobs on one stage. `kills` counts what was killed, `jobs` what ended as it must."""

    def __init__(self, stage: Stage, seed: int) -> None:
        self._stage = stage
        self._dice = random.Random(seed)
        self.kills: Counter[str] = Counter()
        self.jobs = 0
        self.runs = 0

    def prepare(self) -> None:
        """Inside the keeper, before the first round."""
        self._stage.ask("config.set", key="crash_limit", value=CRASH_LIMIT)
        self._stage.scale(WORKERS)

    def round(self, count: int) -> None:
        """Store jobs, kill until all have ended, and check what must hold. Raises AssertionError."""
        stage = self._stage
        stage.jobs = [self._job(f"r{self.jobs}-{n}") for n in range(count)]
        stage.ask("enqueue_many", jobs=[job.spec for job in stage.jobs], request=str(uuid.uuid4()))
        until = self.kills.total() + KILLS_A_ROUND
        while self._left() and self.kills.total() < until:
            # What the kill meets is what is tried here, so time passes on purpose.
            time.sleep(self._dice.random() * LONGEST_GAP_S)
            self._kill(self._dice.choice(PREY))
        stage.finish(workers=WORKERS)
        self.jobs += count
        self.runs += sum(stage.marks.text(job.id).count("s") for job in stage.jobs)
        found = stage.home.broken_promises()
        assert not found, found
        stage.ask("job.remove", ids=[job.id for job in stage.jobs])

    def _job(self, name: str) -> Marked:
        seconds = self._dice.choice((0, 0, 0.02, 0.1, 0.3))
        return self._stage.marks.job(
            name,
            meanwhile=f"sleep {seconds}" if seconds else ":",
            exit_code=self._dice.choice((0, 0, 3)),
            big=self._dice.random() < 0.1,
        )

    def _left(self) -> int:
        counts = self._stage.ask("status")["counts"]
        return sum(counts[state] for state in ("pending", "processing", "failed"))

    def _kill(self, prey: str) -> None:
        stage = self._stage
        pids = [worker["pid"] for worker in stage.workers()] if prey != "daemon" else []
        if "workers" not in prey and prey != "all":
            pids = [self._dice.choice(pids)] if pids else []
        if prey == "all":
            # All at one moment: the daemon must not see its workers die first.
            pids.insert(self._dice.randrange(len(pids) + 1), stage.keeper.daemon().pid)
        elif "daemon" in prey:
            pids.append(stage.keeper.daemon().pid)
        for pid in pids:
            # Those of the list just told; who died since is not yet reaped by its daemon or is gone.
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.kills[prey] += 1


def main(arguments: list[str]) -> int:
    """Run rounds until the time is over. The exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.soak", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="what is killed, and when")
    parser.add_argument("--minutes", type=float, default=1, help="how long (default: 1)")
    options = parser.parse_args(arguments)
    print(f"seed {options.seed}", flush=True)
    home = Home()
    stage = Stage(home)
    soak = Soak(stage, options.seed)
    until = time.monotonic() + options.minutes * 60
    try:
        with stage.keeper:
            soak.prepare()
            while time.monotonic() < until:
                soak.round(ROUND_JOBS)
    except AssertionError as fault:
        print(f"seed {options.seed} broke a promise after {figures(soak)}:\n{fault}\n\n{home.daemon_log()[-5000:]}")
        print(f"its home is {home.path}")
        return 1
    finally:
        stage.close()
        home.stop()
    print(figures(soak))
    shutil.rmtree(home.path)
    return 0


def figures(soak: Soak) -> str:
    """What was survived, in one line."""
    kills = ", ".join(f"{count} of {prey}" for prey, count in sorted(soak.kills.items()))
    return f"{soak.jobs} jobs in {soak.runs} runs, {soak.kills.total()} kills ({kills})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
