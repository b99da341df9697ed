"""Transitions of many jobs in one request: those that are alike are written by one statement.

Alike are jobs that stand in the same place and come to stand in the same one, and of which nothing else hangs on
the row: no key, no batch, no worker. What is told of them, and in which order, is as if each went by itself.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final, NamedTuple

from peewee import SQL

from queuectl_client.protocol.vocabulary import ENDED_STATES, JobState
from queuectld.domain.job import Now
from queuectld.store.mapping import models
from queuectld.store.mapping.statement import arg, statement
from queuectld.store.writer.lanes import Head
from queuectld.store.writer.session import Session
from queuectld.store.writes.concurrency_keys import let_in_at_the_end
from queuectld.store.writes.dependents import forget_parents_of, note_ends
from queuectld.store.writes.transitions import (
    MAY_DEPEND,
    OF_THESE,
    WRITTEN,
    Standing,
    allowed,
    move,
    outdated,
    tell_change,
)

_Job: Final = models.Job
_STANDS: Final = SQL("state = :was_state AND lane IS :was_lane AND in_line = 0")
_STATE, _RANK, _LANE = (Standing._fields.index(name) for name in ("state", "rank", "lane"))
_END: Final = _STATE + len(WRITTEN)


class _Way(NamedTuple):
    """From where to where a job goes."""

    queue: int
    batch: int | None
    state: JobState
    lane: int | None
    changes: tuple[tuple[str, Any], ...]
    """Columns that are written, with their values."""


Move = Callable[[Standing, Standing], None]


@contextmanager
def moves_of_many(session: Session, now: Now) -> Iterator[Move]:
    """Whoever moves many jobs, each but once: gives what to call for each. The rows are written at the end.

    Until then nothing may be asked of the store that their places are the answer to.
    """
    alike: dict[_Way, list[tuple[Standing, Standing]]] = {}
    group: list[tuple[Standing, Standing]] = []
    last: tuple[Any, ...] = ()

    def take(before: Standing, after: Standing) -> None:
        if not _is_plain(before):
            move(session, before, after, now)
            return
        nonlocal last, group
        after = allowed(session, before, after)
        # Of the places that are compared each job has its own rank, which no verb on many changes.
        places = (before[_STATE:_RANK], before[_LANE:_END], after[_STATE:_RANK], after[_LANE:_END])
        if places != last or before.rank != after.rank:
            last = places
            group = alike.setdefault(_way(before, after), [])
        group.append((before, after))
        if before.state is not after.state:
            tell_change(session, before, after, now)

    with let_in_at_the_end(session):
        yield take
        for way, moved in alike.items():
            _write(session, way, moved, now)


def _way(before: Standing, after: Standing) -> _Way:
    both = zip(WRITTEN, before[_STATE:_END], after[_STATE:_END], strict=True)
    changes = tuple([(name, value) for name, was, value in both if value != was])
    return _Way(before.queue, before.batch, before.state, before.lane, changes)


def _is_plain(job: Standing) -> bool:
    """Whether nothing but its own row and those that wait for it hangs on where the job stands.

    Of a unique key others ask the store who holds it.
    """
    lone = job.key is None and job.bundle is None and job.unique_key is None
    return lone and job.state is not JobState.PROCESSING and job.ending is None


def _write(session: Session, way: _Way, moved: Sequence[tuple[Standing, Standing]], now: Now) -> None:
    text = _update(tuple([name for name, _ in way.changes]))
    seqs = [before.seq for before, _ in moved]
    after = moved[0][1]
    values = {
        **dict(way.changes), "state": after.state.value, "now": now.wall_ms,
        "was_state": way.state.value, "was_lane": way.lane, "seqs": json.dumps(seqs),
    }  # fmt: skip
    if session.execute(text, values).rowcount != len(seqs):
        raise outdated(moved[0][0])
    session.count(way.batch, way.queue, way.state, way.lane is not None, -len(moved))
    session.count(after.batch, after.queue, after.state, after.lane is not None, len(moved))
    if way.lane is not None:
        session.leave_lane(way.lane, *seqs)
    if after.lane is not None:
        # All enter the same lane, whose head alone is kept.
        session.enter_lane(min(Head(-job.priority, job.rank, job.seq, after.lane, job.state) for _, job in moved))
    if any(was.due_ms is not None or job.due_ms is not None or job.run_at_ms is not None for was, job in moved):
        session.due_changed = True
    if after.state is not way.state and after.state in ENDED_STATES:
        note_ends(session, {each.seq: (each.id, each.state) for _, each in moved})
        if way.state in MAY_DEPEND:
            forget_parents_of(session, seqs)


@lru_cache(maxsize=64)
def _update(columns: tuple[str, ...]) -> str:
    changed = {getattr(_Job, name): arg(name) for name in columns}
    return statement(_Job.update({**changed, _Job.updated_ms: arg("now")}).where(OF_THESE & _STANDS))
