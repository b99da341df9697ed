"""One home of a soak: rounds of jobs of all kinds, stored and run while a killer is at work, then looked at.

    python -m tests.crash.soaking --seed 7 --kills 100 --jobs 500

is one home alone; tests/crash/soak.py runs several, and tells how they fare. Prints a line of JSON for each round.
"""

import argparse
import json
import random
import signal
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Final

from queuectl_client import Client
from queuectl_client.errors import ConnectionLost, DaemonUnreachable, NotFound
from tests.crash.kills import Killer
from tests.crash.kinds import Kinds
from tests.crash.marks import Marked
from tests.crash.stage import DEADLINE_S, Stage
from tests.support.daemon import Home
from tests.support.eventually import eventually

WORKERS: Final = 6
ROUND_JOBS: Final = 100
"""Jobs that are stored and waited for together; then all promises are checked."""
CRASH_LIMIT: Final = 1_000
"""So many kills in so short a time would make jobs dead by the usual limit."""
LONGEST_WORDS: Final = 3_000
STOP_WITHIN_S: Final = 20
"""`daemon stop --now` is back by then, whatever there is."""


class Soak:
    """Rounds of jobs on one stage. `jobs` ended as they must, in `runs` runs; `killer` counts what was killed."""

    def __init__(
        self, stage: Stage, seed: int, *, setuid: Path | None = None, without: Collection[str] = frozenset()
    ) -> None:
        self._stage = stage
        self._dice = random.Random(seed)
        self._kinds = Kinds(stage.marks, self._dice, setuid=setuid, without=without)
        self.killer = Killer(stage, random.Random(seed + 1), without)
        self.jobs = 0
        self.runs = 0
        self.kills_left = 0
        """Due in the next round."""

    def prepare(self) -> None:
        """Inside the restarter, before the first round."""
        self._stage.ask("config.set", key="crash_limit", value=CRASH_LIMIT)
        self._stage.scale(WORKERS)

    def round(self, count: int, kills: int) -> None:
        """Store jobs and let them end while there are kills, then check what must hold. Raises AssertionError.

        Kills that the jobs did not live to see are due in the next round.
        """
        stage = self._stage
        self._kinds.begin()
        stage.jobs = [self._kinds.make(f"r{self.jobs}-{n}") for n in range(count)]
        self._among_kills(kills + self.kills_left)
        stage.finish(workers=WORKERS)
        self.jobs += count
        self.runs += sum(stage.marks.text(job.id).count("s ") for job in stage.jobs)
        found = stage.home.broken_promises()
        assert not found, found
        stage.ask("job.remove", ids=[job.id for job in stage.jobs])
        stage.marks.clear()

    def end(self) -> None:
        """After the last round, with jobs running: the daemon ends in time when it is told to."""
        stage = self._stage
        stage.ask("enqueue", id="last-1", command="exec sleep 60", cwd="/", kill_grace=0.2)
        stubborn = "trap '' TERM; while :; do sleep 1; done"
        stage.ask("enqueue", id="last-2", command=stubborn, cwd="/", kill_grace=0.2)
        eventually(lambda: stage.ask("status")["counts"]["processing"] == 2, deadline=DEADLINE_S)
        stage.restarter.hold()
        stage.home.ok("daemon", "stop", "--now", timeout=STOP_WITHIN_S)

    def figures(self) -> dict[str, Any]:
        """What was survived so far."""
        return {"jobs": self.jobs, "runs": self.runs, "kills": self.killer.kills, "stops": self.killer.stops}

    def _among_kills(self, kills: int) -> None:
        """All jobs of the round are stored, and end, while the killer is at work in a thread of its own."""
        failures: list[BaseException] = []

        def kill() -> None:
            try:
                self.kills_left = self.killer.hunt(kills)
            except BaseException as failure:  # told below, in the thread that is waited for
                failures.append(failure)

        thread = threading.Thread(target=kill, name="killer", daemon=True)
        thread.start()
        try:
            self._store(self._stage.jobs)
            ids = [job.id for job in self._stage.jobs]
            until = time.monotonic() + 3 * DEADLINE_S
            while not failures and not self._stage.ask("job.wait", ids=ids, timeout=5)["done"]:
                assert time.monotonic() < until, f"some jobs do not end: {self._stage.not_ended()}"
        finally:
            self.killer.enough()
            thread.join(DEADLINE_S)
        if failures:
            raise failures[0]
        assert not thread.is_alive(), "the killer hangs"

    def _store(self, jobs: Sequence[Marked]) -> None:
        """In the three ways there are: one by one, many at once, as a batch."""
        first, second = len(jobs) // 10, len(jobs) // 2
        for job in jobs[:first]:
            self._stage.ask("enqueue", **job.spec, request=str(uuid.uuid4()))
        many = [job.spec for job in jobs[first:second]]
        self._stage.ask("enqueue_many", jobs=many, request=str(uuid.uuid4()))
        self._store_batch(jobs[second:])

    def _store_batch(self, jobs: Sequence[Marked]) -> None:
        request = str(uuid.uuid4())

        def stored() -> bool:
            try:
                with Client(autostart=False, environ=self._stage.home.env) as client:
                    token = client.call("batch.open", defaults={})["token"]
                    for some in (jobs[::2], jobs[1::2]):
                        client.call("batch.add", token=token, jobs=[job.spec for job in some])
                    client.call("batch.commit", token=token, request=request)
            except (ConnectionLost, DaemonUnreachable, NotFound):  # a batch goes with the daemon that it was opened at
                return False
            return True

        if not self._is_stored(jobs):
            eventually(lambda: stored() or self._is_stored(jobs), deadline=DEADLINE_S, message="a batch is not stored")

    def _is_stored(self, jobs: Sequence[Marked]) -> bool:
        """All of it or nothing, so one of them tells."""
        return jobs[0].id in {job["id"] for job in self._stage.ask("list", limit=5000)["jobs"]}


def main(arguments: list[str]) -> int:
    """Rounds until all kills are done and all jobs have ended, or the time is over. The exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.soaking")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--kills", type=int, required=True)
    parser.add_argument("--jobs", type=int, required=True)
    parser.add_argument("--minutes", type=float, default=1e6)
    parser.add_argument("--setuid", type=Path)
    parser.add_argument("--without", default="")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    home = Home()
    stage = Stage(home)
    try:
        soak = Soak(stage, options.seed, setuid=options.setuid, without=set(filter(None, options.without.split(","))))
        _say({"home": str(home.path)})
        with stage.restarter:
            _rounds(soak, options.kills, options.jobs, time.monotonic() + options.minutes * 60)
    except Exception as failure:  # also what the daemon refused, or a command that did not come back
        words = str(failure) if isinstance(failure, AssertionError) else traceback.format_exc()
        _say({"failure": words[:LONGEST_WORDS], "log": home.daemon_log()[-6000:]})
        return 1
    finally:
        stage.close()
        home.stop()
    home.remove()
    return 0


def _rounds(soak: Soak, kills: int, jobs: int, until: float) -> None:
    soak.prepare()
    a_round = max(1, round(ROUND_JOBS * kills / jobs))
    while time.monotonic() < until and (soak.jobs < jobs or soak.killer.kills.total() < kills):
        soak.round(ROUND_JOBS, min(a_round, max(0, kills - soak.killer.kills.total() - soak.kills_left)))
        _say(soak.figures())
    soak.end()


def _say(told: dict[str, Any]) -> None:
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
