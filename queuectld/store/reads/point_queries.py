"""Queries for single jobs, counts, events and the small tables, on a read-only connection."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Final

from peewee import SQL, fn

from queuectl_client.protocol.vocabulary import JobState
from queuectld.domain.job import Attempt, Job
from queuectld.store.mapping import models
from queuectld.store.mapping.jobrows import read_job
from queuectld.store.mapping.rows import STATES, read_attempt, read_event, unpack
from queuectld.store.mapping.sql import AMONG_SEQS, VISIBLE, WHOLE_JOB
from queuectld.store.mapping.statement import arg, statement
from queuectld.store.records import Busy, Event, PoolRow, QueueRow, WorkerRow
from queuectld.store.writer.counts import COUNTS

_Job: Final = models.Job
_GET: Final = statement(_Job.select(WHOLE_JOB).where((_Job.seq == arg("seq")) & VISIBLE))
_MANY: Final = statement(_Job.select(WHOLE_JOB).where(AMONG_SEQS & VISIBLE).order_by(_Job.seq))
_STATES: Final = statement(_Job.select(_Job.seq, _Job.state).where(AMONG_SEQS & VISIBLE))
_LAST_SEQ: Final = statement(_Job.select(fn.MAX(_Job.seq)))
_ATTEMPTS: Final = statement(
    models.Attempt.select().where(models.Attempt.seq == arg("seq")).order_by(models.Attempt.run)
)
_QUEUES: Final = statement(
    models.Queue.select(
        models.Queue.id, models.Queue.name, models.Queue.paused, models.Queue.paused_because,
        models.Queue.concurrency, models.Queue.rate, models.Queue.failure_limit, models.Queue.failures,
    ).order_by(models.Queue.name)
)  # fmt: skip
_PROCESSING: Final = statement(
    _Job.select(_Job.seq, _Job.run, _Job.worker, _Job.id).where(_Job.worker.is_null(False))
)  # fmt: skip
_ENVIRONMENT: Final = statement(models.Environment.select(models.Environment.body).where(SQL("id = :id")))
_EVENTS: Final = statement(
    models.Event.select()
    .where(models.Event.event_seq > arg("after"))
    .order_by(models.Event.event_seq)
    .limit(arg("limit"))
)
_OLDEST_EVENT: Final = statement(models.Event.select(fn.MIN(models.Event.event_seq)))
_POOLS: Final = statement(models.Pool.select().order_by(models.Pool.id))
_WORKERS: Final = statement(models.Worker.select().order_by(models.Worker.id))


def get(connection: sqlite3.Connection, seq: int) -> Job | None:
    """Return a job; None if there is none."""
    row = connection.execute(_GET, {"seq": seq}).fetchone()
    return None if row is None else read_job(row)


def last_seq(connection: sqlite3.Connection) -> int:
    """Return the number of the newest job; 0 if there is none."""
    return connection.execute(_LAST_SEQ).fetchone()[0] or 0


def many(connection: sqlite3.Connection, seqs: Sequence[int]) -> list[Job]:
    """Return the jobs that exist, ordered by number."""
    rows = connection.execute(_MANY, {"seqs": json.dumps(list(seqs))})
    return [read_job(row) for row in rows]


def states(connection: sqlite3.Connection, seqs: Sequence[int]) -> dict[int, JobState]:
    """Return the states of the jobs that exist, by number."""
    rows = connection.execute(_STATES, {"seqs": json.dumps(list(seqs))})
    return {seq: STATES[state] for seq, state in rows}


def attempts(connection: sqlite3.Connection, seq: int) -> list[Attempt]:
    """Return the ended executions of a job, oldest first."""
    return [read_attempt(row) for row in connection.execute(_ATTEMPTS, {"seq": seq})]


def queues(connection: sqlite3.Connection) -> list[QueueRow]:
    """Return all queues by name, with their counts."""
    states: dict[int, dict[JobState, int]] = {}
    ready: dict[int, int] = {}
    for queue, state, is_ready, n in connection.execute(COUNTS):
        of_queue = states.setdefault(queue, dict.fromkeys(JobState, 0))
        of_queue[STATES[state]] += n
        ready[queue] = ready.get(queue, 0) + (n if is_ready else 0)
    return [
        QueueRow(
            name, bool(paused), because, concurrency, rate, failure_limit, failures,
            states.get(number, dict.fromkeys(JobState, 0)), ready.get(number, 0),
        )
        for number, name, paused, because, concurrency, rate, failure_limit, failures in connection.execute(_QUEUES)
    ]  # fmt: skip


def processing(connection: sqlite3.Connection) -> list[Busy]:
    """Return all processing jobs, by number."""
    return sorted(Busy(*row) for row in connection.execute(_PROCESSING))


def environment(connection: sqlite3.Connection, number: int) -> Mapping[str, str]:
    """Return the environment of this number. Raises LookupError if there is none."""
    row = connection.execute(_ENVIRONMENT, {"id": number}).fetchone()
    if row is None:
        raise LookupError(f"no such environment: {number}")
    found: Mapping[str, str] = unpack(row[0])
    return found


def events_since(connection: sqlite3.Connection, event_seq: int, limit: int) -> list[Event]:
    """Return the events after this one, oldest first."""
    return [read_event(row) for row in connection.execute(_EVENTS, {"after": event_seq, "limit": limit})]


def oldest_event(connection: sqlite3.Connection) -> int:
    """Return the number of the oldest event kept; 0 if there is none."""
    return connection.execute(_OLDEST_EVENT).fetchone()[0] or 0


def pools(connection: sqlite3.Connection) -> list[PoolRow]:
    """Return all pools, oldest first."""
    return [PoolRow(*row) for row in connection.execute(_POOLS)]


def workers(connection: sqlite3.Connection) -> list[WorkerRow]:
    """Return all workers that have not ended, oldest first."""
    return [WorkerRow(*row) for row in connection.execute(_WORKERS)]
