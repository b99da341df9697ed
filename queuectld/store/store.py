"""The store's interface for the rest of the daemon. Every method is called on the event loop.

A write is one request to the writer thread; it is on disk when its future is done. Events of a commit are delivered
before its futures are done. A read sees committed data. No decisions are made here.
"""

import asyncio
import concurrent.futures.thread  # noqa: F401  # closing loads nothing: there may be no descriptor left
from collections.abc import Callable, Mapping, Sequence, Set
from functools import partial
from pathlib import Path
from typing import Any, Final

from queuectl_client.protocol.permits import JobAction
from queuectld.domain.job import Job, Now
from queuectld.domain.outcome import Outcome, Survivor
from queuectld.store.intake import Intake
from queuectld.store.mapping import files, schema  # fmt: skip
from queuectld.store.mapping.connection import open_reader, open_writer
from queuectld.store.queries import Queries
from queuectld.store.reads import point_queries
from queuectld.store.reads.thread import Reader
from queuectld.store.records import (
    FEW,
    ActionResult,
    Committed,
    Counts,
    Due,
    Event,
    Explanation,
    MoveTarget,
    QueueRow,
    ResolvedSelectors,
    StoreFailed,
    TimeAnchor,
    Turn,
)  # fmt: skip
from queuectld.store.repair import repair_once
from queuectld.store.upkeep import Upkeep
from queuectld.store.writer import cache  # fmt: skip
from queuectld.store.writer.counts import LiveCounts
from queuectld.store.writer.session import NOTHING, Session
from queuectld.store.writer.thread import Writer
from queuectld.store.writes import (  # fmt: skip
    actions,
    changes,
    edits,
    explaining,
    idempotency,
    registry,
    survivors,
    turn,
)

FLAG: Final = "flag:"
ANCHOR: Final = "anchor"


class Store:
    """All jobs and what belongs to them, in one SQLite file.

    Reads are in `queries`, adding jobs in `intake`, retention in `upkeep`.
    """

    def __init__(
        self,
        path: Path,
        *,
        host: str,
        loop: asyncio.AbstractEventLoop,
        on_broken: Callable[[StoreFailed], None],
    ) -> None:
        """Do not call directly: `Store.open` checks the file first."""
        connection = open_writer(path)
        repair_once(connection)
        session = Session(connection, host)
        self._subscribers: list[Callable[[Committed], None]] = []
        self._settings, self._values = cache.read_settings(connection)
        self.survivors: Mapping[int, tuple[Survivor, ...]] = cache.read_survivors(self._values)
        """By job: the surviving processes of its last run, as of the last commit. Replaced, not changed."""
        self.due: Due = session.cache.due
        """When the next waiting job becomes due, as of the last commit."""
        self.first_seq: int = session.cache.last_seq + 1
        """The number of the next job added after the store was opened."""
        self._live_counts = LiveCounts(connection)
        self.paused: Set[str] = self._live_counts.paused
        """The names of paused queues, as of the last commit."""
        self.last_event_seq: int = session.cache.last_event_seq
        """The number of the newest event, as of the last commit."""
        self._loop = loop
        self._writer = Writer(path, connection, session, loop, self._deliver, on_broken)
        self._reader = Reader(path, open_reader(path), loop)
        self.queries = Queries(self._reader)
        self.intake = Intake(self._writer, loop)
        self.upkeep = Upkeep(self._reader, self._writer)

    @classmethod
    def open(
        cls,
        path: Path | str,
        *,
        host: str,
        loop: asyncio.AbstractEventLoop,
        on_broken: Callable[[StoreFailed], None] = lambda _: None,
    ) -> "Store":
        """Open the store at `path`; create it if there is none, migrate it after a backup if it is older.

        Raises StoreRefused, and leaves the file as it is, if it is foreign, damaged or newer.
        `on_broken` is called once, on the loop, when a disk error ends all writing: the daemon must stop.
        """
        path = Path(path)
        schema.prepare(path)
        store = files.refuse_on_error(path, lambda: cls(path, host=host, loop=loop, on_broken=on_broken))
        files.refuse_on_error(path, store._begin)
        return store

    def subscribe(self, subscriber: Callable[[Committed], None]) -> None:
        """Call `subscriber` on the loop with each commit from now on, before its requests are answered.

        Subscribers are called in the order in which they subscribed.
        """
        self._subscribers.append(subscriber)

    async def close(self) -> None:
        """Run queued requests, checkpoint, and end both threads.

        After an error that ended all writing, the log stays beside the file for the next daemon.
        """
        await self.intake.settle()
        await self._end()

    def _begin(self) -> None:
        """Start both threads. Raises RuntimeError if the system cannot start one."""
        self._writer.start()
        self._reader.start()

    async def _end(self) -> None:
        """End both threads once queued requests have run."""
        stops = [self._reader.stop, self._writer.stop]
        if self._writer.is_broken:
            stops.reverse()
        for stop in stops:
            try:
                await self._loop.run_in_executor(None, stop)
            except RuntimeError:  # no thread could be started to wait in; the loop is not needed meanwhile
                stop()

    def _deliver(self, committed: Committed, settings: dict[str, Any] | None, values: dict[str, Any] | None) -> None:
        if settings is not None and values is not None:
            self._settings, self._values = settings, values
            self.survivors = cache.read_survivors(values)
        self.due = committed.due
        self._live_counts.change(committed.counts, committed.queues)
        if committed.events:
            self.last_event_seq = committed.events[-1].event_seq
        for subscriber in self._subscribers:
            subscriber(committed)

    # -- events

    async def events_since(self, event_seq: int, limit: int) -> list[Event]:
        """Return the events after this one, oldest first."""
        return await self._reader.submit(partial(point_queries.events_since, event_seq=event_seq, limit=limit))

    async def oldest_event(self) -> int:
        """Return the number of the oldest event kept; 0 if there is none."""
        return await self._reader.submit(point_queries.oldest_event)

    # -- the turn

    async def turn(
        self,
        outcomes: Sequence[Outcome],
        free: Sequence[int],
        dedicated: Mapping[int, int],
        *,
        now: Now,
        crash_limit: int,
        chance: float,
    ) -> Turn:
        """Store outcomes, admit due jobs, claim the best jobs for `free` workers and their own for `dedicated` ones.

        One commit. A late or repeated outcome changes nothing but is acknowledged.
        """
        return await self._writer.submit(partial(
            turn.turn, outcomes=outcomes, free=free, dedicated=dedicated, now=now, crash_limit=crash_limit,
            chance=chance,
        ), weight=len(outcomes) + len(free))  # fmt: skip

    async def return_claims(self, claims: Sequence[tuple[int, int]], *, now: Now) -> None:
        """Undo claims (seq, run) that never reached their worker: the jobs are pending again."""
        await self._writer.submit(partial(turn.return_claims, claims=claims, now=now))

    # -- actions on jobs: all of them or none

    async def apply(
        self, action: JobAction, seqs: Sequence[int], *, now: Now, picked: bool = False, brief: bool = False,
        how: Mapping[str, Any] = NOTHING,
    ) -> ActionResult:  # fmt: skip
        """Apply an action to each of the jobs, with its arguments in `how`. Refused if one does not permit it.

        `picked`: jobs that do not permit it are skipped. `brief`: the result has names only.
        """
        work = partial(actions.apply, action=action, seqs=seqs, now=now, picked=picked, brief=brief, how=how)
        return await self._change(work, len(seqs))

    async def preview(
        self, action: JobAction, seqs: Sequence[int], *, picked: bool = False, brief: bool = False
    ) -> ActionResult:
        """Like `apply`, but change nothing."""
        preview = partial(actions.preview, action=action, seqs=seqs, picked=picked, brief=brief)
        return await self._change(preview, len(seqs))

    def _change(self, work: Callable[[Session], ActionResult], jobs: int) -> "asyncio.Future[ActionResult]":
        return (self._writer.submit if jobs <= FEW else self._writer.submit_bulk)(work, jobs)

    async def edit(
        self,
        job: int | str,
        edited: Mapping[str, Any],
        *,
        now: Now,
        rev: int | None = None,
        resolved: ResolvedSelectors | None = None,
    ) -> Job:
        """Change fields of a waiting job, by their names in NewJob. Refused (conflict) if `rev` is outdated."""
        return await self._writer.submit(
            partial(edits.edit, named=job, changes=edited, rev=rev, now=now, resolved=resolved)
        )

    async def move(self, job: int | str, target: MoveTarget, *, now: Now) -> Job:
        """Change the position or the queue of a waiting job."""
        return await self._writer.submit(partial(edits.move, named=job, target=target, now=now))

    async def explain(self, job: int | str, *, now: Now) -> Explanation:
        """Explain why a job does not run now. Runs on the writer thread, whose cache knows the running jobs."""
        return await self._writer.submit(partial(explaining.explain, named=job, now=now))

    async def set_paused(self, seq: int, run: int, paused: bool, *, now: Now) -> bool:
        """Store whether a run is paused. Returns False if it has ended, or nothing changes."""
        return await self._writer.submit(partial(changes.set_paused, seq=seq, run=run, paused=paused, now=now))

    # -- settings, queues, pools and workers

    async def config_set(self, key: str, value: Any, *, now: Now) -> None:
        """Store a setting."""
        await self._writer.submit(partial(registry.set_config, key=key, value=value, now=now))

    async def config_unset(self, key: str, *, now: Now) -> bool:
        """Remove a setting. Return whether it was set."""
        return await self._writer.submit(partial(registry.unset_config, key=key, now=now))

    async def counts(self) -> Counts:
        """Return the counts of jobs by state, and of ready jobs by queue, as of the last commit, without a query."""
        return self._live_counts.counts()

    def config(self) -> Mapping[str, Any]:
        """Return the settings that were set, as of the last commit."""
        return self._settings

    async def set_flag(self, name: str, value: Any) -> None:
        """Store a small value (JSON) under a name."""
        await self._writer.submit(partial(registry.set_value, key=FLAG + name, value=value))

    def flag(self, name: str) -> Any:
        """Return the value under a name, as of the last commit; None if there is none."""
        return self._values.get(FLAG + name)

    def time_anchor(self) -> TimeAnchor | None:
        """Return the anchor saved last; None in a new store."""
        saved = self._values.get(ANCHOR)
        return TimeAnchor(*saved) if isinstance(saved, list) else None

    async def save_anchor(self, anchor: TimeAnchor) -> None:
        """Store a reading of all clocks, from which store time continues after a restart."""
        await self._writer.submit(partial(registry.set_value, key=ANCHOR, value=list(anchor)))

    async def set_survivors(self, seq: int, found: Sequence[Survivor]) -> None:
        """Replace the surviving processes that the job waits for."""
        await self._writer.submit(partial(survivors.replace, seq=seq, survivors=found))

    async def clear_survivors(self, seq: int, *, now: Now) -> None:
        """Delete the surviving processes of a job, which have ended: it may run again."""
        await self._writer.submit(partial(survivors.clear, seq=seq, now=now))

    async def queue_set(self, name: str, *, now: Now, **fields: Any) -> QueueRow:
        """Set `paused`, `concurrency`, `rate` or `failure_limit` (None: no limit) of a queue, creating it if needed."""
        await self._writer.submit(partial(registry.set_queue, name=name, fields=fields, now=now))
        return next(queue for queue in await self.queries.queues() if queue.name == name)

    async def queue_pause(self, name: str, paused: bool, *, now: Now) -> QueueRow:
        """Pause or resume a queue."""
        return await self.queue_set(name, now=now, paused=paused)

    async def queue_remove(self, name: str, *, now: Now) -> None:
        """Remove a queue that has no jobs. Raises Refused (not_found, wrong_state)."""
        await self._writer.submit(partial(registry.remove_queue, name=name, now=now))

    async def pool_add(self, kind: str, wanted: int, job_seq: int | None = None, *, now: Now) -> int:
        """Store a pool of kind `detached`, `foreground` or `job`; return its number, which is never reused."""
        return await self._writer.submit(partial(registry.add_pool, kind=kind, wanted=wanted, job_seq=job_seq, now=now))

    async def pool_add_once(
        self, kind: str, wanted: int, event_seq: int, *, now: Now, request: str | None
    ) -> tuple[int, int, bool]:
        """Store a pool, or find the one this request has stored. Return number, `event_seq`, and whether it is new."""
        once = idempotency.add_pool_once
        return await self._writer.submit(
            partial(once, kind=kind, wanted=wanted, event_seq=event_seq, now=now, request=request)
        )

    async def pool_set(self, pool: int, wanted: int) -> None:
        """Store how many workers the pool should have."""
        await self._writer.submit(partial(registry.set_pool, pool=pool, wanted=wanted))

    async def pool_remove(self, pool: int) -> None:
        """Delete the pool."""
        await self._writer.submit(partial(registry.remove_pool, pool=pool))

    async def worker_add(self, pool: int, number: int, *, now: Now) -> int:
        """Store a worker before it is started; return its number, which is never reused."""
        return await self._writer.submit(partial(registry.add_worker, pool=pool, number=number, now=now))

    async def worker_started(self, worker: int, pid: int, start_time: int, boot_id: str, *, now: Now) -> None:
        """Store the process of a worker, before it gets a job."""
        start = partial(registry.start_worker, worker=worker, pid=pid, start_time=start_time, boot_id=boot_id)
        await self._writer.submit(partial(start, now=now))

    async def worker_ended(self, worker: int, *, now: Now) -> None:
        """Delete a worker whose process has exited, and what it was still ending."""
        await self._writer.submit(partial(registry.end_worker, worker=worker, now=now))
