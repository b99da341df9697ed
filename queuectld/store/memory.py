"""What the writing thread knows without asking the store. Small: never a row for each job.

Loaded when the store is opened; kept in step by the session, which also takes back what is rolled back.
"""

import json
import sqlite3
from dataclasses import dataclass, field
from typing import Any, Final

from peewee import SQL, fn

from queuectld.store.lanes import Lanes
from queuectld.store.models import (
    WAITS_FOR_STORE_TIME,
    WAITS_FOR_WALL_TIME,
    Batch,
    Config,
    Event,
    Job,
    Lane,
    Meta,
    Queue,
    Resolving,
    Worker,
)
from queuectld.store.records import Due
from queuectld.store.statement import arg, statement

KNOWN_ENVIRONMENTS: Final = 256
"""Digests kept in memory; others are looked up."""
LAST_SEQ_KEY: Final = "last_seq"
_LAST_SEQ: Final = statement(Job.select(fn.MAX(Job.seq)))
_LAST_EVENT: Final = statement(Event.select(fn.MAX(Event.event_seq)))
_NEXT_STORE_DUE: Final = statement(Job.select(fn.MIN(Job.due_ms)).where(SQL(WAITS_FOR_STORE_TIME)))
_NEXT_WALL_DUE: Final = statement(Job.select(fn.MIN(Job.run_at_ms)).where(SQL(WAITS_FOR_WALL_TIME)))
_META: Final = statement(Meta.select(Meta.value).where(Meta.key == arg("key")))


@dataclass(slots=True)
class Memory:
    """The writing thread's memory. `hidden` are the batches whose jobs nobody sees; `sweeping` those being let in."""

    last_seq: int
    last_event_seq: int
    due: Due
    lanes: Lanes = field(default_factory=Lanes)
    queue_ids: dict[str, int] = field(default_factory=dict)
    queue_names: dict[int, str] = field(default_factory=dict)
    paused_queues: set[int] = field(default_factory=set)
    lane_ids: dict[tuple[int, str], int] = field(default_factory=dict)
    environments: dict[bytes, int] = field(default_factory=dict)
    hidden: set[int] = field(default_factory=set)
    sweeping: list[int] = field(default_factory=list)
    resolving: set[int] = field(default_factory=set)
    workers: dict[int, tuple[int, int]] = field(default_factory=dict)
    """By worker: its pool and its number there."""

    def add_queue(self, number: int, name: str, *, paused: bool) -> None:
        """Know a queue of the store."""
        self.queue_ids[name] = number
        self.queue_names[number] = name
        if paused:
            self.paused_queues.add(number)

    def forget_queue(self, number: int) -> None:
        """Know it no longer: it was not stored after all."""
        del self.queue_ids[self.queue_names.pop(number)]
        self.paused_queues.discard(number)

    def add_lane(self, number: int, queue: int, needs: str) -> None:
        """Know a lane of the store, closed while its queue is paused."""
        self.lane_ids[queue, needs] = number
        self.lanes.doubt(number)
        if queue in self.paused_queues:
            self.lanes.close(number)

    def forget_lane(self, queue: int, needs: str) -> None:
        """Know it no longer: it was not stored after all."""
        self.lanes.doubt(self.lane_ids.pop((queue, needs)))

    def set_paused(self, queue: int, paused: bool) -> None:
        """Open or close all lanes of a queue."""
        (self.paused_queues.add if paused else self.paused_queues.discard)(queue)
        for (owner, _needs), lane in self.lane_ids.items():
            if owner == queue:
                (self.lanes.close if paused else self.lanes.open)(lane)

    def remember_environment(self, digest: bytes, number: int) -> None:
        """Know an environment of the store; the one known longest gives way."""
        if len(self.environments) >= KNOWN_ENVIRONMENTS:
            del self.environments[next(iter(self.environments))]
        self.environments[digest] = number


def load(connection: sqlite3.Connection) -> Memory:
    """The memory of a store that has just been opened."""
    # Numbers of jobs that are gone stay used up: the highest one is noted when its job is removed.
    noted = json.loads(_one(connection, _META, {"key": LAST_SEQ_KEY}) or "0")
    memory = Memory(
        last_seq=max(noted, _one(connection, _LAST_SEQ) or 0),
        last_event_seq=_one(connection, _LAST_EVENT) or 0,
        due=next_due(connection),
    )
    for number, name, paused in connection.execute(statement(Queue.select(Queue.id, Queue.name, Queue.paused))):
        memory.add_queue(number, name, paused=bool(paused))
    for number, queue, needs in connection.execute(statement(Lane.select(Lane.id, Lane.queue, Lane.needs))):
        memory.add_lane(number, queue, needs)
    for number, state in connection.execute(statement(Batch.select(Batch.id, Batch.state).order_by(Batch.id))):
        if state == "committed":
            memory.sweeping.append(number)
        else:
            memory.hidden.add(number)
    memory.resolving.update(row[0] for row in connection.execute(statement(Resolving.select(Resolving.parent))))
    for number, pool, place in connection.execute(statement(Worker.select(Worker.id, Worker.pool, Worker.number))):
        memory.workers[number] = (pool, place)
    return memory


def next_due(connection: sqlite3.Connection) -> Due:
    """When the next waiting job comes due, from the two indexes of due times."""
    return Due(_one(connection, _NEXT_STORE_DUE), _one(connection, _NEXT_WALL_DUE))


def read_settings(connection: sqlite3.Connection) -> tuple[dict[str, object], dict[str, object]]:
    """All settings, and all small values of the store."""
    config = connection.execute(statement(Config.select(Config.key, Config.value)))
    settings = {key: json.loads(value) for key, value in config}
    meta = connection.execute(statement(Meta.select(Meta.key, Meta.value)))
    return settings, {key: json.loads(value) for key, value in meta}


def _one(connection: sqlite3.Connection, text: str, values: dict[str, object] | None = None) -> Any:
    row = connection.execute(text, values or {}).fetchone()
    return row[0] if row else None
