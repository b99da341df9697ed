"""Retention: removes old ended jobs (settings `keep_…`), events, answers and orphaned log files.

Runs in the background in small slices. An alarm wakes it when the next item expires; without one it sleeps. Also
implements `queuectl prune`.
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
"""The setting with the retention time of each state."""
STATE_OF: Final = {
    EventKind.JOB_COMPLETED: JobState.COMPLETED,
    EventKind.JOB_CANCELLED: JobState.CANCELLED,
    EventKind.JOB_DEAD: JobState.DEAD,
}
KEEP_EVENTS: Final = 100_000
SPARE_EVENTS: Final = 10_000
"""Excess at which old events are removed, so that not every commit removes a few."""
KEEP_REQUESTS_MS: Final = 86_400_000
HOUR_MS: Final = 3_600_000
SHORTEST_GAP_MS: Final = 1_000
GAP_SHARE: Final = 20
"""Sweep at most once per twentieth of the retention time: each sweep scans all ended jobs."""


class SweepResult(NamedTuple):
    """How many jobs a sweep removed, and when the oldest remaining job of each state ended."""

    removed: int
    oldest_ms: Mapping[JobState, int]


class Retention:
    """Removes what has expired."""

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
        """Handle a commit: re-arm the alarm if something now expires earlier. Called on the event loop."""
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
        """Remove what has expired, then sleep until more does. Runs until cancelled."""
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
                    log.warning("cannot remove old jobs now: %s", refused.message)
                    due_ms = self._clock.now().wall_ms + HOUR_MS
                if due_ms is not None:
                    self._arm(due_ms)
                await self._wake.wait()
        finally:
            self._alarm.close()
            self._alarm = None

    async def prune(self, states: Sequence[JobState], older_than_s: float, *, dry_run: bool = False) -> int:
        """Remove jobs of these states that ended at least `older_than_s` seconds ago, with their output.

        Returns how many. With `dry_run`, only counts them.
        """
        before_ms = self._clock.now().wall_ms - round(older_than_s * 1000)
        return (await self._pass(dict.fromkeys(states, before_ms), dry_run=dry_run)).removed

    def _arm(self, due_ms: int) -> None:
        if self._alarm is not None and (self._due_ms is None or due_ms < self._due_ms):
            self._due_ms = due_ms
            self._alarm.set(None, due_ms)

    async def _sweep(self) -> int | None:
        """Remove what has expired. Returns the wall time of the next expiry, or None."""
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
            log.info("removed %d old jobs", done.removed)
        # At least one gap apart, so that jobs that ended together are removed together.
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
        """Remove (or count) the jobs that ended before the time given for their state."""
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
        """Remove log files of removed jobs, left when a daemon was killed between the two steps.

        Numbers that this store has not assigned belong to another store and are left alone.
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
        """Return the retention time in milliseconds by state, without states that are kept forever."""
        stored = self._store.config()
        return {state: round(stored[name] * 1000) for state, name in KEEP.items() if stored.get(name) is not None}


def _gap_ms(keep_ms: int) -> int:
    return min(max(keep_ms // GAP_SHARE, SHORTEST_GAP_MS), HOUR_MS)
