"""Transitions of many jobs in one request: equal transitions are written by one statement.

Two transitions are equal if they read and write the same values, and nothing but the row depends on the job: no key,
no batch, no worker. Events and their order are as with single transitions.
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
from queuectld.store.writer.lanes import LaneHead
from queuectld.store.writer.session import Session
from queuectld.store.writes.concurrency_keys import deferred_admission
from queuectld.store.writes.dependents import forget_parents_of, note_ends
from queuectld.store.writes.transitions import (
    MAY_DEPEND,
    OF_THESE,
    WRITTEN,
    JobSnapshot,
    allowed,
    record_change,
    stale_snapshot,
    transition,
)

_Job: Final = models.Job
_STANDS: Final = SQL("state = :was_state AND lane IS :was_lane AND in_line = 0")
_STATE, _RANK, _LANE = (JobSnapshot._fields.index(name) for name in ("state", "rank", "lane"))
_END: Final = _STATE + len(WRITTEN)


class _TransitionKind(NamedTuple):
    """What equal transitions have in common."""

    queue: int
    upload: int | None
    state: JobState
    lane: int | None
    changes: tuple[tuple[str, Any], ...]
    """Columns to write, with their values."""


Apply = Callable[[JobSnapshot, JobSnapshot], None]


@contextmanager
def bulk_transition(session: Session, now: Now) -> Iterator[Apply]:
    """Yield a function that takes the transition of one job; each job at most once. Rows are written at the end.

    Until then no query may depend on the rows of these jobs.
    """
    alike: dict[_TransitionKind, list[tuple[JobSnapshot, JobSnapshot]]] = {}
    group: list[tuple[JobSnapshot, JobSnapshot]] = []
    last: tuple[Any, ...] = ()

    def take(before: JobSnapshot, after: JobSnapshot) -> None:
        if not _is_plain(before):
            transition(session, before, after, now)
            return
        nonlocal last, group
        after = allowed(session, before, after)
        # The rank is left out: each job has its own, and no bulk action changes it.
        places = (before[_STATE:_RANK], before[_LANE:_END], after[_STATE:_RANK], after[_LANE:_END])
        if places != last or before.rank != after.rank:
            last = places
            group = alike.setdefault(_kind(before, after), [])
        group.append((before, after))
        if before.state is not after.state:
            record_change(session, before, after, now)

    with deferred_admission(session):
        yield take
        for kind, moved in alike.items():
            _write(session, kind, moved, now)


def _kind(before: JobSnapshot, after: JobSnapshot) -> _TransitionKind:
    both = zip(WRITTEN, before[_STATE:_END], after[_STATE:_END], strict=True)
    changes = tuple([(name, value) for name, was, value in both if value != was])
    return _TransitionKind(before.queue, before.upload, before.state, before.lane, changes)


def _is_plain(job: JobSnapshot) -> bool:
    """Whether nothing but its own row and its dependents depends on the state of the job.

    The holder of a unique key is not plain: other jobs of the request query it.
    """
    lone = job.key is None and job.batch_id is None and job.unique_key is None
    return lone and job.state is not JobState.PROCESSING and job.ending is None


def _write(session: Session, kind: _TransitionKind, moved: Sequence[tuple[JobSnapshot, JobSnapshot]], now: Now) -> None:
    text = _update(tuple([name for name, _ in kind.changes]))
    seqs = [before.seq for before, _ in moved]
    after = moved[0][1]
    values = {
        **dict(kind.changes), "state": after.state.value, "now": now.wall_ms,
        "was_state": kind.state.value, "was_lane": kind.lane, "seqs": json.dumps(seqs),
    }  # fmt: skip
    if session.execute(text, values).rowcount != len(seqs):
        raise stale_snapshot(moved[0][0])
    session.count(kind.upload, kind.queue, kind.state, kind.lane is not None, -len(moved))
    session.count(after.upload, after.queue, after.state, after.lane is not None, len(moved))
    if kind.lane is not None:
        session.leave_lane(kind.lane, *seqs)
    if after.lane is not None:
        # All enter the same lane, of which only the head is cached.
        session.enter_lane(min(LaneHead(-job.priority, job.rank, job.seq, after.lane, job.state) for _, job in moved))
    if any(was.due_ms is not None or job.due_ms is not None or job.run_at_ms is not None for was, job in moved):
        session.due_changed = True
    if after.state is not kind.state and after.state in ENDED_STATES:
        note_ends(session, {each.seq: (each.id, each.state) for _, each in moved})
        if kind.state in MAY_DEPEND:
            forget_parents_of(session, seqs)


@lru_cache(maxsize=64)
def _update(columns: tuple[str, ...]) -> str:
    changed = {getattr(_Job, name): arg(name) for name in columns}
    return statement(_Job.update({**changed, _Job.updated_ms: arg("now")}).where(OF_THESE & _STANDS))
