"""Waiting for jobs to end, woken by events."""

import asyncio
from collections.abc import Sequence

from queuectl_client.protocol.vocabulary import JobState
from queuectld.domain.states import has_ended
from queuectld.scheduler.bus import Bus
from queuectld.store.store import Store


async def for_jobs(store: Store, bus: Bus, seqs: Sequence[int], *, any_one: bool, timeout: float | None) -> bool:
    """Wait until each of the jobs (or any one) has ended; False when `timeout` seconds were over first."""
    deadline = _deadline(timeout)
    # The watch is up before the first look: what ends in between wakes it.
    watch = bus.watch(seqs)
    try:
        waiting = set(seqs)
        while True:
            jobs = await store.many(list(waiting))
            waiting = {job.seq for job in jobs if not has_ended(job.state)}
            if not waiting or (any_one and len(waiting) < len(seqs)):
                return True
            if not await watch.woken(deadline):
                return False
    finally:
        watch.close()


async def for_quiet(store: Store, bus: Bus, *, timeout: float | None) -> bool:
    """Wait until nothing is ready in an open queue, failed or processing; False when `timeout` seconds were over first.

    Held, delayed, paused and blocked jobs do not count.
    """
    deadline = _deadline(timeout)
    watch = bus.watch()
    try:
        while not await is_quiet(store):
            if not await watch.woken(deadline):
                return False
        return True
    finally:
        watch.close()


async def is_quiet(store: Store) -> bool:
    """Whether no job is about to run, running, or failed and about to run again."""
    counts = await store.counts()
    if counts.by_state.get(JobState.PROCESSING, 0) or counts.by_state.get(JobState.FAILED, 0):
        return False
    return not any(count for queue, count in counts.ready.items() if queue not in counts.paused)


def _deadline(timeout: float | None) -> float | None:
    return None if timeout is None else asyncio.get_running_loop().time() + timeout
