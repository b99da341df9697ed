"""What is old goes: ended jobs by the settings `keep_…`, old events and answers, stray logs.

It works in small slices in the background, and is woken by an alarm for the next moment at which something is old
enough; where nothing will ever be, it sleeps. What `queuectl prune` asks for is done here, too.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from queuectl_client.protocol.vocabulary import EventKind, JobState
from queuectld.domain.errors import Refused
from queuectld.scheduler.clock import Clock
from queuectld.scheduler.timers import Alarm
from queuectld.store.records import Committed, StoreFailed
from queuectld.store.store import Store

log = logging.getLogger(__name__)

KEEP: Final[Mapping[JobState, str]] = {
    JobState.COMPLETED: "keep_completed",
    JobState.CANCELLED: "keep_cancelled",
    JobState.DEAD: "keep_dead",
}
"""The setting that says for how long jobs of a state are kept."""
STATE_OF: Final = {
    EventKind.JOB_COMPLETED: JobState.COMPLETED,
    EventKind.JOB_CANCELLED: JobState.CANCELLED,
    EventKind.JOB_DEAD: JobState.DEAD,
}
KEEP_EVENTS: Final = 100_000
SPARE_EVENTS: Final = 10_000
"""So many more before the oldest are forgotten: not a few at each commit."""
KEEP_REQUESTS_MS: Final = 86_400_000
HOUR_MS: Final = 3_600_000
SHORTEST_GAP_MS: Final = 1_000
GAP_SHARE: Final = 20
"""Jobs are looked through at most every twentieth part of the time they are kept: each look is at all of them."""


class SweepResult(NamedTuple):
    """What one pass through the jobs did, and when the oldest one left of each state ended."""

    removed: int
    oldest_ms: Mapping[JobState, int]


class Retention:
    """Forgets what is old."""

    def __init__(self, store: Store, clock: Clock, logs: Path, remove_files: Callable[[Sequence[str]], None]) -> None:
        self._store = store
        self._clock = clock
        self._logs = logs
        self._remove_files = remove_files
        self._wake = asyncio.Event()
        self._alarm: Alarm | None = None
        self._due_ms: int | None = None
        self._keeps = self._read_keeps()
        self._oldest_event = 0

    def committed(self, commit: Committed) -> None:
        """See whether what a commit tells makes something old enough sooner than was known. Called on the loop."""
        if not commit.events or self._alarm is None:
            return
        if commit.events[-1].event_seq - self._oldest_event > KEEP_EVENTS + SPARE_EVENTS:
            self._wake.set()
        kinds = {event.kind for event in commit.events}
        if EventKind.CONFIG_CHANGED in kinds:
            self._keeps = self._read_keeps()
            self._wake.set()
        waits = [keep for state, keep in self._keeps.items() if any(STATE_OF.get(kind) is state for kind in kinds)]
        if self._due_ms is None:
            waits.append(KEEP_REQUESTS_MS)
        if waits:
            self._arm(self._clock.now().wall_ms + min(waits))

    async def run(self) -> None:
        """Forget what is old enough, then sleep until more is. Ends when cancelled."""
        self._alarm = Alarm(asyncio.get_running_loop(), self._clock.offset_ms, self._wake.set)
        try:
            await self._clear_logs()
            while True:
                self._wake.clear()
                self._due_ms = None
                try:
                    due_ms = await self._sweep()
                except StoreFailed:
                    return  # the daemon is about to end
                except Refused as refused:
                    log.warning("old jobs are not removed now: %s", refused.message)
                    due_ms = self._clock.now().wall_ms + HOUR_MS
                if due_ms is not None:
                    self._arm(due_ms)
                await self._wake.wait()
        finally:
            self._alarm.close()
            self._alarm = None

    async def prune(self, states: Sequence[JobState], older_than_s: float, *, dry_run: bool = False) -> int:
        """Remove ended jobs of these states that ended at least so long ago, with their output. How many."""
        before_ms = self._clock.now().wall_ms - round(older_than_s * 1000)
        return (await self._pass(dict.fromkeys(states, before_ms), dry_run=dry_run)).removed

    def _arm(self, due_ms: int) -> None:
        if self._alarm is not None and (self._due_ms is None or due_ms < self._due_ms):
            self._due_ms = due_ms
            self._alarm.set(None, due_ms)

    async def _sweep(self) -> int | None:
        """Forget what is old enough. The wall time at which more will be; None: nothing will."""
        now_ms = self._clock.now().wall_ms
        dues = [await self._old_jobs(now_ms), await self._old_requests(now_ms)]
        await self._old_events()
        return min((due for due in dues if due is not None), default=None)

    async def _old_jobs(self, now_ms: int) -> int | None:
        keeps = self._keeps
        if not keeps:
            return None
        done = await self._pass({state: now_ms - keep for state, keep in keeps.items()})
        if done.removed:
            log.info("%d old jobs were removed", done.removed)
        # Not before a gap is over: jobs that ended soon after one another go together.
        dues = [
            max(ended_ms + keeps[state], now_ms + _gap_ms(keeps[state])) for state, ended_ms in done.oldest_ms.items()
        ]
        return min(dues, default=None)

    async def _old_requests(self, now_ms: int) -> int | None:
        await self._store.upkeep.prune_requests(now_ms - KEEP_REQUESTS_MS)
        oldest_ms = await self._store.upkeep.oldest_request()
        return None if oldest_ms is None else max(oldest_ms + KEEP_REQUESTS_MS, now_ms + HOUR_MS)

    async def _old_events(self) -> None:
        if self._store.last_event_seq - self._oldest_event > KEEP_EVENTS + SPARE_EVENTS:
            await self._store.upkeep.prune_events(KEEP_EVENTS)
        self._oldest_event = await self._store.oldest_event()

    async def _pass(self, before: Mapping[JobState, int], *, dry_run: bool = False) -> SweepResult:
        """Look at every job, and remove (or count) those that ended, in one of these states, before its time."""
        removed = 0
        oldest: dict[JobState, int] = {}
        async for ended in self._store.upkeep.ended_jobs():
            old = [seq for seq, state, ended_ms in ended if state in before and ended_ms <= before[state]]
            for _seq, state, ended_ms in ended:
                if state in before and ended_ms > before[state]:
                    oldest[state] = min(ended_ms, oldest.get(state, ended_ms))
            if dry_run:
                removed += len(old)
                continue
            async for pruned in self._store.upkeep.prune_jobs(old, before, now=self._clock.now()):
                self._remove_files(pruned.files)
                removed += pruned.count
        return SweepResult(removed, oldest)

    async def _clear_logs(self) -> None:
        """Remove log files of jobs that are gone: a daemon was killed after it had removed a job, before its files.

        Numbers that the store has not given are another store's, and left alone.
        """
        for folder in sorted(self._logs.glob("[0-9]*")):
            by_seq: dict[int, list[str]] = {}
            for name in os.listdir(folder) if folder.is_dir() else ():
                number = name.partition(".")[0]
                if name.endswith(".log") and number.isdecimal():
                    by_seq.setdefault(int(number), []).append(f"{folder.name}/{name}")
            given = {seq for seq in by_seq if seq < self._store.first_seq}
            for seq in given - await self._store.upkeep.present(given):
                self._remove_files(by_seq[seq])

    def _read_keeps(self) -> dict[JobState, int]:
        """By state how long its jobs are kept, in milliseconds; what is kept for ever is left out."""
        stored = self._store.config()
        return {state: round(stored[name] * 1000) for state, name in KEEP.items() if stored.get(name) is not None}


def _gap_ms(keep_ms: int) -> int:
    return min(max(keep_ms // GAP_SHARE, SHORTEST_GAP_MS), HOUR_MS)
