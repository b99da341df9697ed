"""The small tables: queues, pools, workers, settings and flags."""

import json
from functools import partial
from typing import Any, Final

from peewee import SQL, fn

from queuectl_client.protocol.vocabulary import ErrorCode, EventKind
from queuectld.domain.errors import Refused
from queuectld.domain.job import Now
from queuectld.domain.rate import read_rate
from queuectld.store.mapping.models import Config, Count, Job, Lane, Meta, Pool, Queue, Worker
from queuectld.store.mapping.statement import arg, insert_row, statement
from queuectld.store.writer.cache import LAST_SEQ_KEY, RANKS_KEY, read_settings, reopening_ms, supply
from queuectld.store.writer.session import Session
from queuectld.store.writes.transitions import release_allocation, worker_detail

_SET_META: Final = statement(
    Meta.insert(key=arg("key"), value=arg("value")).on_conflict(
        conflict_target=[Meta.key], update={Meta.value: arg("value")}
    )
)
_SET_CONFIG: Final = statement(
    Config.insert(key=arg("key"), value=arg("value")).on_conflict(
        conflict_target=[Config.key], update={Config.value: arg("value")}
    )
)
_UNSET_CONFIG: Final = statement(Config.delete().where(Config.key == arg("key")))
_SET_QUEUE: Final = {
    name: statement(Queue.update({getattr(Queue, name): arg("value")}).where(Queue.id == arg("id")))
    for name in ("paused", "paused_because", "concurrency", "rate", "failure_limit")
}
_COUNT_JOBS: Final = statement(Count.select(fn.sum(Count.n)).where(Count.queue == arg("queue")))
_REMOVE_LANES: Final = statement(Lane.delete().where(Lane.queue == arg("queue")))
_REMOVE_QUEUE: Final = statement(Queue.delete().where(Queue.id == arg("queue")))
ALWAYS_THERE: Final = "default"
"""The queue that cannot be removed."""
_ADD_POOL: Final = insert_row(Pool, ["kind", "wanted", "job_seq", "created_ms"])
_SET_POOL: Final = statement(Pool.update(wanted=arg("wanted")).where(Pool.id == arg("id")))
_REMOVE_POOL: Final = statement(Pool.delete().where(Pool.id == arg("id")))
_ADD_WORKER: Final = insert_row(Worker, ["pool", "number", "host", "started_ms"])
_START_WORKER: Final = statement(
    Worker.update(pid=arg("pid"), start_time=arg("start_time"), boot_id=arg("boot_id")).where(Worker.id == arg("id"))
)
_REMOVE_WORKER: Final = statement(Worker.delete().where(Worker.id == arg("id")))
_END_ENDING: Final = statement(Job.update(ending=SQL("NULL")).where(Job.ending == arg("id")))


def set_value(session: Session, key: str, value: Any) -> None:
    """Store a small value of the store itself."""
    session.execute(_SET_META, {"key": key, "value": json.dumps(value)})
    session.settings_changed = True


def note_last_seq(session: Session) -> None:
    """Store the highest job number. Call before jobs are deleted, or a restart would reuse their numbers."""
    session.execute(_SET_META, {"key": LAST_SEQ_KEY, "value": json.dumps(session.cache.last_seq)})


def note_ranks(session: Session) -> None:
    """Store the extreme ranks of moved jobs, so that the next one goes past them."""
    ranks = [session.cache.first_rank, session.cache.last_rank]
    session.execute(_SET_META, {"key": RANKS_KEY, "value": json.dumps(ranks)})


def set_config(session: Session, key: str, value: Any, now: Now) -> None:
    """Store a setting."""
    session.execute(_SET_CONFIG, {"key": key, "value": json.dumps(value)})
    _settings_changed(session, key, now)


def unset_config(session: Session, key: str, now: Now) -> bool:
    """Remove a setting. Return whether it was set."""
    if not session.execute(_UNSET_CONFIG, {"key": key}).rowcount:
        return False
    _settings_changed(session, key, now)
    return True


def _settings_changed(session: Session, key: str, now: Now) -> None:
    session.settings_changed = True
    if key in ("slots", "resources"):
        resources = session.cache.limits.resources
        session.on_rollback(partial(setattr, resources, "slots", resources.slots))
        session.on_rollback(partial(setattr, resources, "supplies", resources.supplies))
        supply(resources, read_settings(session.connection)[0])
        session.ready = True
    session.record_event(EventKind.CONFIG_CHANGED, now, detail={"key": key})


def set_queue(session: Session, name: str, fields: dict[str, Any], now: Now) -> None:
    """Set `paused`, `concurrency`, `rate` or `failure_limit` (None: no limit) of a queue, creating it if needed."""
    number = session.queue_id(name)
    if "paused" in fields:
        _set_paused(session, number, paused=fields["paused"], because=None)
        # Pausing or resuming a queue by hand resets the count of failures.
        session.count_failures(number, 0)
    if "failure_limit" in fields:
        _set_field(session, number, "failure_limit", fields["failure_limit"])
    if "concurrency" in fields:
        _set_field(session, number, "concurrency", fields["concurrency"])
    if "rate" in fields:
        _set_field(session, number, "rate", fields["rate"], read_rate(fields["rate"]))
        session.close_until(number, reopening_ms(session.cache.limits.queues[number]))
    session.open_or_close(number)
    session.record_event(EventKind.QUEUE_CHANGED, now, queue=name, detail=fields)


def remove_queue(session: Session, name: str, now: Now) -> None:
    """Remove a queue that has no jobs, hidden ones of an open batch included, with its lanes and its limits.

    Its counts stay, each 0: this commit may still have to write some. Refused (not_found) if there is none,
    (wrong_state) if it has jobs or is `default`.
    """
    number = session.cache.queue_ids.get(name)
    if number is None:
        raise Refused(ErrorCode.NOT_FOUND, f"no such queue: {name!r}", {"name": name})
    if name == ALWAYS_THERE:
        raise Refused(ErrorCode.WRONG_STATE, f"the queue {name} always exists; it cannot be removed", {"name": name})
    values = {"queue": number}
    jobs = (session.execute(_COUNT_JOBS, values).fetchone()[0] or 0) + session.uncounted(number)
    if jobs:
        message = f"the queue {name} has {jobs:,} job{'' if jobs == 1 else 's'}, ended ones included"
        raise Refused(ErrorCode.WRONG_STATE, f"{message}; remove or move them first", {"name": name, "jobs": jobs})
    for text in (_REMOVE_LANES, _REMOVE_QUEUE):
        session.execute(text, values)
    session.forget_queue(number)
    session.record_event(EventKind.QUEUE_CHANGED, now, queue=name, detail={"removed": True})


def pause_queue(session: Session, queue: int, because: str, now: Now) -> None:
    """Pause a queue and store why."""
    _set_paused(session, queue, paused=True, because=because)
    session.open_or_close(queue)
    detail = {"paused": True, "reason": because}
    session.record_event(EventKind.QUEUE_CHANGED, now, queue=session.cache.queue_names[queue], detail=detail)


def _set_paused(session: Session, queue: int, *, paused: bool, because: str | None) -> None:
    _set_field(session, queue, "paused", int(paused), paused)
    _set_field(session, queue, "paused_because", because)


def _set_field(session: Session, queue: int, field: str, stored: Any, known: Any = None) -> None:
    """Write one column of a queue and update the cache."""
    session.execute(_SET_QUEUE[field], {"id": queue, "value": stored})
    session.limit(queue, **{field: stored if known is None else known})


def add_pool(session: Session, kind: str, wanted: int, job_seq: int | None, now: Now) -> int:
    """Store a pool of workers and return its number."""
    number = session.execute(_ADD_POOL, (kind, wanted, job_seq, now.wall_ms)).lastrowid
    return _given(number)


def set_pool(session: Session, pool: int, wanted: int) -> None:
    """Store how many workers the pool should have."""
    session.execute(_SET_POOL, {"id": pool, "wanted": wanted})


def remove_pool(session: Session, pool: int) -> None:
    """Delete the pool."""
    session.execute(_REMOVE_POOL, {"id": pool})


def add_worker(session: Session, pool: int, number: int, now: Now) -> int:
    """Store a worker before it is started and return its number. Numbers are never reused."""
    worker = _given(session.execute(_ADD_WORKER, (pool, number, session.host, now.wall_ms)).lastrowid)
    session.cache.workers[worker] = (pool, number)
    session.on_rollback(partial(session.cache.workers.pop, worker, None))
    _count_workers(session, 1)
    return worker


def start_worker(session: Session, worker: int, pid: int, start_time: int, boot_id: str, now: Now) -> None:
    """Store the process of a worker, before it gets a job."""
    values = {"id": worker, "pid": pid, "start_time": start_time, "boot_id": boot_id}
    if session.execute(_START_WORKER, values).rowcount:
        session.record_event(
            EventKind.WORKER_STARTED, now, worker=worker, detail=worker_detail(session, worker) | {"pid": pid}
        )


def end_worker(session: Session, worker: int, now: Now) -> None:
    """Delete a worker whose process has exited, and the cancelled runs it was still ending."""
    session.execute(_END_ENDING, {"id": worker})
    for allocation in session.cache.limits.allocations_of(worker):
        release_allocation(session, allocation.seq)
    if not session.execute(_REMOVE_WORKER, {"id": worker}).rowcount:
        return
    session.record_event(EventKind.WORKER_ENDED, now, worker=worker, detail=worker_detail(session, worker))
    place = session.cache.workers.pop(worker, None)
    if place is not None:
        session.on_rollback(partial(session.cache.workers.__setitem__, worker, place))
        _count_workers(session, -1)


def _count_workers(session: Session, change: int) -> None:
    """Update the number of workers, which is the number of slots unless configured otherwise."""
    resources = session.cache.limits.resources
    session.on_rollback(partial(setattr, resources, "workers", resources.workers))
    resources.workers += change
    session.ready = session.ready or change > 0


def _given(number: int | None) -> int:
    if number is None:
        raise RuntimeError("an INSERT gave no row id")
    return number
