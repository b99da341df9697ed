"""The session of the writer thread: the connection and the cache that belongs to it.

Everything a request changes here is undone when its savepoint is rolled back (`savepoint`, `rollback`).
Makes no decisions about jobs; its callers do.
"""

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from peewee import SQL

from queuectl_client.protocol.vocabulary import EventKind, JobState
from queuectld.domain.job import Now
from queuectld.domain.resources import PLAIN
from queuectld.store.mapping.models import Count, Environment, Lane, Queue
from queuectld.store.mapping.models import Event as EventTable
from queuectld.store.mapping.rows import event_rows, pack
from queuectld.store.mapping.statement import arg, insert_row, statement
from queuectld.store.records import Committed, Due, Event
from queuectld.store.writer import cache
from queuectld.store.writer.lanes import LaneHead
from queuectld.store.writer.limits import Allocation, QueueLimits

_COUNT_KEY = (
    (Count.upload == arg("upload"))
    & (Count.queue == arg("queue"))
    & (Count.state == arg("state"))
    & (Count.ready == arg("ready"))
)
_CHANGE_COUNT: Final = statement(Count.update({Count.n: Count.n + arg("n")}).where(_COUNT_KEY))
_INSERT_COUNT: Final = insert_row(Count)
_INSERT_EVENT: Final = insert_row(EventTable)
_INSERT_QUEUE: Final = insert_row(Queue, ["name", "paused", "failures"])
_SET_USED: Final = statement(
    Queue.update(starts=arg("starts"), failures=arg("failures")).where(Queue.id == arg("id"))
)  # fmt: skip
_INSERT_LANE: Final = insert_row(Lane, ["queue", "needs"])
_INSERT_ENVIRONMENT: Final = insert_row(Environment, ["digest", "jobs", "body"])
_FIND_ENVIRONMENT: Final = statement(Environment.select(Environment.id).where(Environment.digest == arg("digest")))
_USE_ENVIRONMENT: Final = statement(
    Environment.update({Environment.jobs: Environment.jobs + arg("jobs")}).where(Environment.id == arg("id"))
)  # fmt: skip
_FORGET_UNUSED: Final = statement(
    Environment.delete()
    .where((Environment.id == arg("id")) & (Environment.jobs == SQL("0")))
    .returning(Environment.digest)
)
DIGEST_BYTES: Final = 16
NOTHING: Final[Mapping[str, Any]] = {}


class Savepoint(NamedTuple):
    """State of the session when a request began."""

    last_seq: int
    last_event_seq: int
    events: int
    undo: int
    counts: dict[tuple[int, int, str, int], int]
    uses: dict[int, int]
    ready: bool
    due_changed: bool
    due: Due


class Session:
    """State of the writer thread. Used only by that thread."""

    def __init__(self, connection: sqlite3.Connection, host: str) -> None:
        self.connection = connection
        self.execute = connection.execute
        self.executemany = connection.executemany
        self.host = host
        self.cache = cache.load(connection)
        self.lanes = self.cache.lanes
        self.others_wait: Callable[[], bool] = lambda: False
        """Whether other requests wait for this commit: what can go on in a later one should. Set by the writer."""
        self.ready = False
        self.due_changed = False
        self.settings_changed = False
        self.deferred_keys: Counter[str] | None = None
        """By key: how many jobs have left, while the admission of the next ones is deferred; else None."""
        self._used: set[int] = set()
        """Queues whose starts or failures have to be written."""
        self._events: list[Event] = []
        self._counts: dict[tuple[int, int, str, int], int] = {}
        self._queues: set[int] = set()
        """Queues that are new, or whose pause may have changed."""
        self._gone: dict[int, str] = {}
        """Queues that were removed, by number."""
        self._uses: dict[int, int] = {}
        """By environment: change of the number of its jobs."""
        self._undo: list[Callable[[], object]] = []
        self._touched: int | None = None

    def savepoint(self) -> Savepoint:
        """Return a savepoint for `rollback`."""
        self._touched = None
        return Savepoint(
            self.cache.last_seq, self.cache.last_event_seq, len(self._events), len(self._undo),
            dict(self._counts), dict(self._uses), self.ready, self.due_changed, self.cache.due,
        )  # fmt: skip

    def rollback(self, savepoint: Savepoint) -> None:
        """Undo all changes since `savepoint`, after the store has rolled back."""
        self._touched = None
        self.cache.last_seq, self.cache.last_event_seq = savepoint.last_seq, savepoint.last_event_seq
        del self._events[savepoint.events :]
        self._counts, self._uses = dict(savepoint.counts), dict(savepoint.uses)
        self.ready, self.due_changed, self.cache.due = savepoint.ready, savepoint.due_changed, savepoint.due
        while len(self._undo) > savepoint.undo:
            self._undo.pop()()

    def on_rollback(self, undo: Callable[[], object]) -> None:
        """Register a function that undoes the current change when it is rolled back."""
        self._undo.append(undo)

    def flush(self) -> None:
        """Write the events and counts of all requests of this commit, just before it."""
        if self._events:
            self.executemany(_INSERT_EVENT, event_rows(self._events))
        for (upload, queue, state, ready), n in self._counts.items():
            if not n:
                continue
            values = {"upload": upload, "queue": queue, "state": state, "ready": ready, "n": n}
            if not self.execute(_CHANGE_COUNT, values).rowcount:
                self.execute(_INSERT_COUNT, (upload, queue, state, ready, n))
        for environment, jobs in self._uses.items():
            self.execute(_USE_ENVIRONMENT, {"id": environment, "jobs": jobs})
            if jobs <= 0:
                self._forget_unused(environment)
        for queue in self._used:
            limits = self.cache.limits.queues.get(queue)
            if limits is None:
                continue  # the request that created it was rolled back
            values = {"id": queue, "starts": json.dumps(limits.starts), "failures": limits.failures}
            self.execute(_SET_USED, values)
        if self.due_changed:
            self.cache.due = cache.next_due(self.connection, self.cache.limits.next_opening())

    def committed(self) -> Committed:
        """Return what has just been committed, and reset for the next commit."""
        unfinished = bool(self.cache.committed_uploads or self.cache.resolving)
        names, limits = self.cache.queue_names, self.cache.limits.queues
        queues = [(number, name, False) for number, name in self._gone.items()]
        queues += [(number, names[number], limits[number].paused) for number in self._queues if number in names]
        done = Committed(self._events, self.ready, self.cache.due, unfinished, self._counts, queues)
        self._events, self._counts, self._uses, self._undo, self._used, self._queues = [], {}, {}, [], set(), set()
        self._gone = {}
        self.ready = self.due_changed = False
        return done

    def count(self, upload: int | None, queue: int, state: JobState, ready: bool, change: int) -> None:
        """Add `change` to a count of jobs."""
        hidden = upload if upload in self.cache.hidden_uploads else None
        key = (hidden or 0, queue, state._value_, int(ready))
        self._counts[key] = self._counts.get(key, 0) + change

    def record_event(
        self,
        kind: EventKind,
        now: Now,
        *,
        job_id: str | None = None,
        seq: int | None = None,
        queue: str | None = None,
        run: int | None = None,
        worker: int | None = None,
        detail: Mapping[str, Any] = NOTHING,
    ) -> None:
        """Record an event; it is published after the commit."""
        self.cache.last_event_seq += 1
        number = self.cache.last_event_seq
        self._events.append(Event(number, now.wall_ms, kind, job_id, seq, queue, run, worker, detail))

    def enter_lane(self, head: LaneHead) -> None:
        """Update the cache after a job has entered its lane."""
        self.lanes.add(head)
        self._touch(head.lane)
        if not self.ready and self.lanes.is_open(head.lane):
            self.ready = True

    def invalidate_lane(self, lane: int) -> None:
        """Update the cache after the order within a lane has changed."""
        self.lanes.invalidate(lane)
        self._touch(lane)

    def leave_lane(self, lane: int, *seqs: int) -> None:
        """Update the cache after jobs have left their lane."""
        self.lanes.discard(lane, seqs)
        self._touch(lane)
        self._keeps_nothing_more((lane,))

    def _keeps_nothing_more(self, lanes: Iterable[int]) -> None:
        """Ask for another turn if heads of these lanes may have reserved resources."""
        if any(self.cache.demands.get(lane) is not PLAIN for lane in lanes):
            self.ready = True

    def _touch(self, lane: int) -> None:
        if lane != self._touched:
            self._touched = lane
            self.on_rollback(partial(self.lanes.invalidate, lane))

    def queue_id(self, name: str) -> int:
        """Return the number of a queue, creating it if needed."""
        known = self.cache.queue_ids.get(name)
        if known is not None:
            return known
        number = self._inserted(_INSERT_QUEUE, (name, 0, 0))
        self.cache.add_queue(number, name, QueueLimits())
        self._queues.add(number)
        self.on_rollback(partial(self.cache.forget_queue, number))
        return number

    def forget_queue(self, number: int) -> None:
        """Update the cache after a queue without jobs was removed."""
        cache = self.cache
        name, limits = cache.queue_names[number], cache.limits.queues[number]
        lanes = [(lane, needs) for (queue, needs), lane in cache.lane_ids.items() if queue == number]
        for lane, needs in lanes:
            cache.lanes.open(lane)  # its number may be given to a lane of another queue
            cache.forget_lane(number, needs)
        cache.forget_queue(number)
        self._gone[number] = name
        self.on_rollback(partial(self._restore_queue, number, name, limits, lanes))

    def _restore_queue(self, number: int, name: str, limits: QueueLimits, lanes: Sequence[tuple[int, str]]) -> None:
        del self._gone[number]
        self.cache.add_queue(number, name, limits)
        if limits.opens_ms is not None:
            self.cache.limits.rate_limited.add(number)
        for lane, needs in lanes:
            self.cache.add_lane(lane, number, needs)

    def uncounted(self, queue: int) -> int:
        """Return how many jobs of a queue this commit has added, or removed, and not yet counted in the store."""
        return sum(n for key, n in self._counts.items() if key[1] == queue)

    def lane_id(self, queue: int, needs: str) -> int:
        """Return the lane for this queue and demand, creating it if needed."""
        known = self.cache.lane_ids.get((queue, needs))
        if known is not None:
            return known
        number = self._inserted(_INSERT_LANE, (queue, needs))
        self.cache.add_lane(number, queue, needs)
        self.on_rollback(partial(self.cache.forget_lane, queue, needs))
        return number

    def allocate(self, allocation: Allocation, now: Now) -> None:
        """Add the allocation of a claimed job: it counts against every limit."""
        limits = self.cache.limits
        limits.allocate(allocation)
        self.on_rollback(partial(limits.release, allocation.seq))
        queue = limits.queues[allocation.queue]
        if queue.rate is not None:
            self.limit(allocation.queue, starts=queue.rate.after(queue.starts, now.store_ms))
            self.close_until(allocation.queue, cache.reopening_ms(queue))
            self._used.add(allocation.queue)
        self.open_or_close(allocation.queue)

    def release(self, seq: int) -> Allocation | None:
        """Remove and return the allocation of a job, which may let others start; None if there is none."""
        allocation = self.cache.limits.release(seq)
        if allocation is not None:
            self.on_rollback(partial(self.cache.limits.allocate, allocation))
            self.open_or_close(allocation.queue)
            self.ready = True
        return allocation

    def limit(self, queue: int, **values: Any) -> None:
        """Change fields of a queue's cached limits. `open_or_close` must follow."""
        limits = self.cache.limits.queues[queue]
        if "paused" in values:
            self._queues.add(queue)
        for name, value in values.items():
            self.on_rollback(partial(setattr, limits, name, getattr(limits, name)))
            setattr(limits, name, value)

    def close_until(self, queue: int, until_ms: int | None) -> None:
        """Set the store time until which the rate keeps a queue closed; None: it does not."""
        rate_limited = self.cache.limits.rate_limited
        was = queue in rate_limited
        if (until_ms is not None) != was:
            (rate_limited.discard if was else rate_limited.add)(queue)
            self.on_rollback(partial(rate_limited.add if was else rate_limited.discard, queue))
        self.limit(queue, opens_ms=until_ms)
        self.due_changed = True

    def count_failures(self, queue: int, failures: int) -> None:
        """Set the number of consecutive failures of a queue."""
        self.limit(queue, failures=failures)
        self._used.add(queue)

    def open_or_close(self, queue: int) -> None:
        """Open or close the lanes of a queue, as its limits allow."""
        limits = self.cache.limits.queues[queue]
        may_open = limits.may_open
        if limits.is_open is not may_open:
            self.cache.set_open(queue, may_open)
            self.on_rollback(partial(self.cache.set_open, queue, not may_open))
            if may_open:
                self.ready = True
            else:
                self._keeps_nothing_more(self.cache.lanes_of[queue])

    def use_environment(self, environment: int, jobs: int) -> None:
        """Add to the number of jobs of an environment; at 0 it is deleted in the same commit."""
        self._uses[environment] = self._uses.get(environment, 0) + jobs

    def _forget_unused(self, environment: int) -> None:
        for (digest,) in self.execute(_FORGET_UNUSED, {"id": environment}).fetchall():
            if self.cache.environments.pop(digest, None) is not None:
                self.on_rollback(partial(self.cache.remember_environment, digest, environment))

    def environment_id(self, environment: Mapping[str, str]) -> int:
        """Return the number of an environment, storing it if it is new. `use_environment` must follow."""
        body = pack(dict(sorted(environment.items())))
        digest = hashlib.blake2b(body, digest_size=DIGEST_BYTES).digest()
        known = self.cache.environments.get(digest)
        if known is not None:
            return known
        row = self.execute(_FIND_ENVIRONMENT, {"digest": digest}).fetchone()
        number: int = row[0] if row else self._inserted(_INSERT_ENVIRONMENT, (digest, 0, body))
        self.cache.remember_environment(digest, number)
        self.on_rollback(partial(self.cache.environments.pop, digest, None))
        return number

    def next_seq(self) -> int:
        """Return the next sequence number, without taking it."""
        return self.cache.last_seq + 1

    def _inserted(self, text: str, values: tuple[Any, ...]) -> int:
        number = self.execute(text, values).lastrowid
        if number is None:
            raise RuntimeError("an INSERT gave no row id")
        return number
