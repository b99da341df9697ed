"""What a queue costs that has nothing to do: memory of daemon and workers, and how often they wake."""

import threading
from statistics import median

from tests.bench.arena import WORKERS, Arena, arena, pss_bytes, wake_ups
from tests.bench.report import Row, at_most, mib
from tests.bench.rounds import Scale

WARM_UP = 200


def measure(scale: Scale) -> list[Row]:
    """After it has run some jobs and said what it has, as a daemon has that is in use."""
    with arena(WORKERS) as ours:
        ours.run(["echo out"] * WARM_UP)
        ours.client.status()
        workers = ours.worker_pids()
        before = _wakes(ours, workers)
        threading.Event().wait(scale.idle_seconds)
        daemon, others = (now - then for now, then in zip(_wakes(ours, workers), before, strict=True))
        memory = pss_bytes(ours.pid)
        worker = median(pss_bytes(pid) for pid in workers)
    sleepers = _sleepers(scale)
    return [
        Row("memory of the daemon (PSS)", mib(memory), "budget, MiB", "", memory / 2**20, at_most(60)),
        Row("memory of a worker (PSS)", mib(worker), "budget, MiB", "", worker / 2**20, at_most(10)),
        Row(f"wake-ups of the daemon in {scale.idle_seconds:g} s", str(daemon), "budget", "", daemon, at_most(0)),
        Row(f"wake-ups of {WORKERS} workers", str(others), "budget", "", others, at_most(0)),
        Row(f"memory with {scale.sleepers} jobs asleep", mib(sleepers), "a job", mib(sleepers / scale.sleepers), None),
    ]


def _wakes(ours: Arena, workers: list[int]) -> tuple[int, int]:
    return wake_ups(ours.pid), sum(wake_ups(pid) for pid in workers)


def _sleepers(scale: Scale) -> int:
    """Memory of daemon and workers while so many jobs run."""
    with arena(scale.sleepers) as ours:
        ours.client.enqueue_many(["exec sleep 600"] * scale.sleepers)
        running = 0
        for event in ours.new_client().events(since=0, kinds=["job.processing"]):
            running += event["kind"] == "job.processing"
            if running == scale.sleepers:
                break
        return pss_bytes(ours.pid) + sum(pss_bytes(pid) for pid in ours.worker_pids())
