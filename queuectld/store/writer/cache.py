"""The writer thread's cache of the store. Small: never an entry for each job.

Loaded when the store is opened; updated by the session, which also undoes changes that are rolled back.
"""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from peewee import SQL, fn

from queuectld.domain.outcome import Survivor
from queuectld.domain.rate import read_rate
from queuectld.domain.resources import Demand, Resources, demand, read_demand, read_supplies
from queuectld.store.mapping.models import (
    WAITS_FOR_STORE_TIME,
    WAITS_FOR_WALL_TIME,
    Config,
    Event,
    Job,
    Lane,
    Meta,
    Queue,
    Resolving,
    Upload,
    Worker,
)
from queuectld.store.mapping.rows import read_granted, read_needs
from queuectld.store.mapping.statement import arg, statement
from queuectld.store.records import Due
from queuectld.store.writer.lanes import Lanes
from queuectld.store.writer.limits import Allocation, Limits, QueueLimits, earliest

KNOWN_ENVIRONMENTS: Final = 256
"""Digests kept in the cache; others are queried."""
LAST_SEQ_KEY: Final = "last_seq"
RANKS_KEY: Final = "ranks"
SURVIVORS_KEY: Final = "survivors"
_LAST_SEQ: Final = statement(Job.select(fn.MAX(Job.seq)))
_LAST_EVENT: Final = statement(Event.select(fn.MAX(Event.event_seq)))
_NEXT_STORE_DUE: Final = statement(Job.select(fn.MIN(Job.due_ms)).where(SQL(WAITS_FOR_STORE_TIME)))
_NEXT_WALL_DUE: Final = statement(Job.select(fn.MIN(Job.run_at_ms)).where(SQL(WAITS_FOR_WALL_TIME)))
_QUEUES: Final = statement(
    Queue.select(
        Queue.id, Queue.name, Queue.paused, Queue.paused_because, Queue.concurrency, Queue.rate, Queue.starts,
        Queue.failure_limit, Queue.failures,
    )
)  # fmt: skip
_HELD_BY_JOB: Final = (Job.key, Job.slots, Job.needs, Job.granted)
_PROCESSING: Final = statement(
    Job.select(Job.seq, Job.queue, Job.worker, *_HELD_BY_JOB).where(Job.worker.is_null(False))
)
_ENDING: Final = statement(Job.select(Job.seq, Job.queue, Job.ending, *_HELD_BY_JOB).where(Job.ending.is_null(False)))
_META: Final = statement(Meta.select(Meta.value).where(Meta.key == arg("key")))


@dataclass(slots=True)
class WriterCache:
    """The writing thread's memory. Small values that requests would otherwise read again and again."""

    last_seq: int
    last_event_seq: int
    due: Due
    first_rank: float = 1.0
    last_rank: float = 0.0
    """The ranks of the jobs last moved to the front and to the back."""
    lanes: Lanes = field(default_factory=Lanes)
    queue_ids: dict[str, int] = field(default_factory=dict)
    queue_names: dict[int, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    lane_ids: dict[tuple[int, str], int] = field(default_factory=dict)
    lanes_of: dict[int, list[int]] = field(default_factory=dict)
    demands: dict[int, Demand] = field(default_factory=dict)
    """By lane: the demand of each of its jobs."""
    environments: dict[bytes, int] = field(default_factory=dict)
    hidden_uploads: set[int] = field(default_factory=set)
    committed_uploads: list[int] = field(default_factory=list)
    resolving: set[int] = field(default_factory=set)
    workers: dict[int, tuple[int, int]] = field(default_factory=dict)
    """By worker: its pool and its number there."""
    survivors: Mapping[int, tuple[Survivor, ...]] = field(default_factory=dict)
    """By job: the surviving processes of its last run."""

    def add_queue(self, number: int, name: str, limits: QueueLimits) -> None:
        """Add a queue of the store."""
        self.queue_ids[name] = number
        self.queue_names[number] = name
        self.limits.queues[number] = limits
        self.lanes_of[number] = []

    def forget_queue(self, number: int) -> None:
        """Undo add_queue after a rollback."""
        del self.queue_ids[self.queue_names.pop(number)]
        del self.limits.queues[number], self.lanes_of[number]
        self.limits.rate_limited.discard(number)

    def add_lane(self, number: int, queue: int, needs: str) -> None:
        """Add a lane of the store, closed if its queue is."""
        self.lane_ids[queue, needs] = number
        self.lanes_of[queue].append(number)
        self.demands[number] = read_demand(needs)
        self.lanes.invalidate(number)
        if not self.limits.queues[queue].is_open:
            self.lanes.close(number)

    def forget_lane(self, queue: int, needs: str) -> None:
        """Undo add_lane after a rollback."""
        number = self.lane_ids.pop((queue, needs))
        self.lanes_of[queue].remove(number)
        del self.demands[number]
        self.lanes.invalidate(number)

    def set_open(self, queue: int, is_open: bool) -> None:
        """Open or close all lanes of a queue."""
        self.limits.queues[queue].is_open = is_open
        change = self.lanes.open if is_open else self.lanes.close
        for lane in self.lanes_of[queue]:
            change(lane)

    def remember_environment(self, digest: bytes, number: int) -> None:
        """Add an environment; evict the oldest entry if the cache is full."""
        if len(self.environments) >= KNOWN_ENVIRONMENTS:
            del self.environments[next(iter(self.environments))]
        self.environments[digest] = number


def load(connection: sqlite3.Connection) -> WriterCache:
    """Load the cache of a store that has just been opened."""
    # Numbers are never reused: the highest one is stored when its job is removed.
    noted = json.loads(_one(connection, _META, {"key": LAST_SEQ_KEY}) or "0")
    cache = WriterCache(
        last_seq=max(noted, _one(connection, _LAST_SEQ) or 0),
        last_event_seq=_one(connection, _LAST_EVENT) or 0,
        due=Due(None, None),
    )
    cache.first_rank, cache.last_rank = json.loads(_one(connection, _META, {"key": RANKS_KEY}) or "[1.0, 0.0]")
    for number, name, *limits in connection.execute(_QUEUES):
        cache.add_queue(number, name, _queue_limits(*limits))
    for number, queue, needs in connection.execute(statement(Lane.select(Lane.id, Lane.queue, Lane.needs))):
        cache.add_lane(number, queue, needs)
    for number, state in connection.execute(statement(Upload.select(Upload.id, Upload.state).order_by(Upload.id))):
        if state == "committed":
            cache.committed_uploads.append(number)
        else:
            cache.hidden_uploads.add(number)
    cache.resolving.update(row[0] for row in connection.execute(statement(Resolving.select(Resolving.parent))))
    for number, pool, place in connection.execute(statement(Worker.select(Worker.id, Worker.pool, Worker.number))):
        cache.workers[number] = (pool, place)
    cache.limits.resources.workers = len(cache.workers)
    settings, values = read_settings(connection)
    supply(cache.limits.resources, settings)
    cache.survivors = read_survivors(values)
    for statement_ in (_PROCESSING, _ENDING):
        for row in connection.execute(statement_):
            cache.limits.allocate(_allocation(*row))
    for queue, limits in cache.limits.queues.items():
        if limits.opens_ms is not None:
            cache.limits.rate_limited.add(queue)
        cache.set_open(queue, limits.may_open)
    cache.due = next_due(connection, cache.limits.next_opening())
    return cache


def _queue_limits(
    paused: int, because: str | None, concurrency: int | None, rate: str | None, starts: str | None,
    failure_limit: int | None, failures: int,
) -> QueueLimits:  # fmt: skip
    limits = QueueLimits(bool(paused), because, concurrency, read_rate(rate), (), failure_limit, failures)
    limits.starts = tuple((at_ms, count) for at_ms, count in json.loads(starts or "[]"))
    limits.opens_ms = reopening_ms(limits)
    return limits


def reopening_ms(limits: QueueLimits) -> int | None:
    """Return the store time until which the rate keeps a queue closed after its last start; None: it does not."""
    if limits.rate is None or not limits.starts:
        return None
    last_ms = limits.starts[-1][0]
    opens_ms = limits.rate.opens_ms(limits.starts, last_ms)
    return opens_ms if opens_ms > last_ms else None


def _allocation(
    seq: int, queue: int, worker: int, key: str | None, slots: int, needs: str | None, granted: str | None
) -> Allocation:
    return Allocation(seq, queue, worker, key, demand(slots, read_needs(needs)), read_granted(granted))


def supply(resources: Resources, settings: Mapping[str, Any]) -> None:
    """Set the total resources from the settings."""
    resources.slots = settings.get("slots")
    resources.supplies = read_supplies(settings.get("resources"))


def next_due(connection: sqlite3.Connection, opening: int | None = None) -> Due:
    """Return when the next waiting job becomes due, or a queue reopens (`opening`)."""
    return Due(earliest((_one(connection, _NEXT_STORE_DUE), opening)), _one(connection, _NEXT_WALL_DUE))


def read_settings(connection: sqlite3.Connection) -> tuple[dict[str, object], dict[str, object]]:
    """Read all settings and all small values of the store."""
    config = connection.execute(statement(Config.select(Config.key, Config.value)))
    settings = {key: json.loads(value) for key, value in config}
    meta = connection.execute(statement(Meta.select(Meta.key, Meta.value)))
    return settings, {key: json.loads(value) for key, value in meta}


def read_survivors(values: Mapping[str, Any]) -> dict[int, tuple[Survivor, ...]]:
    """Return the surviving processes of past runs, by job, from the small values of the store."""
    noted = values.get(SURVIVORS_KEY) or {}
    return {int(seq): tuple(Survivor(*each) for each in survivors) for seq, survivors in noted.items()}


def _one(connection: sqlite3.Connection, text: str, values: dict[str, object] | None = None) -> Any:
    row = connection.execute(text, values or {}).fetchone()
    return row[0] if row else None
