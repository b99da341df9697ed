"""Batches: jobs that come in several messages and are there at one moment, or not at all.

The rows of an open batch are stored and invisible. The commit is one small write; the jobs enter
their lanes afterwards, in slices. What was left open when the daemon went down is discarded.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from peewee import SQL

from queuectl_client.protocol.vocabulary import ENDED_STATES, ErrorCode, EventKind, JobState
from queuectld.domain.errors import Refused
from queuectld.domain.job import NewJob, Now
from queuectld.store.mapping.models import Batch, Count, Dependency, Job
from queuectld.store.mapping.statement import arg, insert_row, statement
from queuectld.store.records import Added, AddedSummary
from queuectld.store.writer.session import Session
from queuectld.store.writes import batches, transitions
from queuectld.store.writes.adding import put_all
from queuectld.store.writes.dependencies import FORGET_FORWARDS, refuse_missing, unblock
from queuectld.store.writes.dependents import those_waiting
from queuectld.store.writes.registry import note_last_seq
from queuectld.store.writes.transitions import JobSnapshot, any_snapshot, read_snapshot

WINDOW: Final = 5_000
"""Rows looked at in one slice, where other jobs lie between those of the batch."""
_OPEN: Final = insert_row(Batch, ["token", "state", "added", "first_seq", "last_seq", "swept_seq", "created_ms"])
_FIND: Final = statement(
    Batch.select(Batch.id, Batch.added, Batch.first_seq, Batch.last_seq).where(
        (Batch.token == arg("token")) & (Batch.state == SQL("'open'"))
    )
)
_GROW: Final = statement(
    Batch.update(added=Batch.added + arg("added"), first_seq=arg("first"), last_seq=arg("last")).where(
        Batch.id == arg("id")
    )
)
_SET_STATE: Final = statement(Batch.update(state=arg("state")).where(Batch.id == arg("id")))
_SWEPT: Final = statement(Batch.update(swept_seq=arg("seq")).where(Batch.id == arg("id")))
_EXTENT: Final = statement(Batch.select(Batch.swept_seq, Batch.first_seq, Batch.last_seq).where(Batch.id == arg("id")))
_DELETE: Final = statement(Batch.delete().where(Batch.id == arg("id")))
_COUNTS: Final = statement(Count.select(Count.queue, Count.state, Count.ready, Count.n).where(Count.batch == arg("id")))
_DELETE_COUNTS: Final = statement(Count.delete().where(Count.batch == arg("id")))
_IN_WINDOW: Final = (Job.seq > arg("after")) & (Job.seq <= arg("upto")) & (Job.batch == arg("id"))
_ROWS: Final = statement(
    Job.select(*(getattr(Job, name) for name in JobSnapshot._fields))
    .where(_IN_WINDOW)
    .order_by(Job.seq)
    .limit(arg("slice"))
)
_SEQS: Final = statement(
    Job.select(Job.seq, Job.bundle, Job.state).where(_IN_WINDOW).order_by(Job.seq).limit(arg("slice"))
)
_DELETE_JOB: Final = statement(Job.delete().where(Job.seq == arg("seq")).returning(Job.environment))
_DELETE_EDGES: Final = statement(
    Dependency.delete().where((Dependency.child == arg("seq")) | (Dependency.parent == arg("seq")))
)


def open_batch(session: Session, token: str, now: Now) -> None:
    """Begin a batch under this token."""
    number = session.execute(_OPEN, (token, "open", 0, 0, 0, 0, now.wall_ms)).lastrowid
    if number is None:
        raise RuntimeError("an INSERT gave no row id")
    session.cache.hidden.add(number)
    session.on_rollback(partial(session.cache.hidden.discard, number))


def add_to_batch(session: Session, token: str, new: Sequence[NewJob], now: Now, first: int = 0) -> Added:
    """Store jobs that nobody sees until the commit. A taken id conflicts at once."""
    number, _, lowest, highest = _find(session, token)
    added, count = put_all(session, new, now, number, first)
    if count:
        seqs = [seq for seq in added.seqs if seq > highest]
        values = {"id": number, "added": count, "first": lowest or min(seqs), "last": max(seqs)}
        session.execute(_GROW, values)
    return added


def refuse_missing_of(session: Session, token: str) -> None:
    """Raises Refused when a job of the batch names one that has not come."""
    refuse_missing(session, _find(session, token)[0])


def commit_batch(session: Session, token: str, now: Now, *, announce: bool = True) -> AddedSummary:
    """Let all jobs of the batch be there. They enter their lanes in the slices that follow (`let_in`).

    `announce`: as jobs that came together; else the caller tells. Refused (not_found) when one waits for a job that has
    not come.
    """
    number, count, first, last = _find(session, token)
    refuse_missing(session, number)
    session.cache.hidden.discard(number)
    session.on_rollback(partial(session.cache.hidden.add, number))
    for queue, state, ready, n in session.execute(_COUNTS, {"id": number}).fetchall():
        session.count(None, queue, JobState(state), bool(ready), n)
    session.execute(_DELETE_COUNTS, {"id": number})
    if not count:
        session.execute(_DELETE, {"id": number})
        return AddedSummary(0, 0, 0)
    session.execute(_SET_STATE, {"id": number, "state": "committed"})
    session.cache.sweeping.append(number)
    session.on_rollback(partial(session.cache.sweeping.remove, number))
    if announce:
        session.record_event(EventKind.JOBS_ADDED, now, detail={"first_seq": first, "last_seq": last, "count": count})
    session.ready = True
    return AddedSummary(count, first, last)


def discard_batch(session: Session, token: str) -> int:
    """Let the batch be no more. Its rows go in slices (`clear_discarded`); gives its number."""
    number: int = _find(session, token)[0]
    session.execute(_SET_STATE, {"id": number, "state": "discarded"})
    return number


def _find(session: Session, token: str) -> Any:
    row = session.execute(_FIND, {"token": token}).fetchone()
    if row is None:
        raise Refused(ErrorCode.NOT_FOUND, f"There is no open batch {token!r}.", {"token": token})
    return row


def admit_uploaded(session: Session, now: Now, budget: int) -> None:
    """Let up to `budget` jobs of committed batches into their lanes; `session.cache.sweeping` holds what is left."""
    while budget > 0 and session.cache.sweeping:
        number = session.cache.sweeping[0]
        swept, first, last = session.execute(_EXTENT, {"id": number}).fetchone()
        after = max(swept, first - 1)
        upto = min(after + WINDOW, last)
        rows = session.execute(_ROWS, {"id": number, "after": after, "upto": upto, "slice": budget}).fetchall()
        came = [read_snapshot(row) for row in rows]
        transitions.admit_waiting(session, came, now)
        _unblock(session, [each.seq for each in came if each.state is JobState.BLOCKED], now)
        reached = rows[-1][0] if len(rows) == budget else upto
        if reached >= last:
            session.execute(_DELETE, {"id": number})
            session.cache.sweeping.pop(0)
            session.on_rollback(partial(session.cache.sweeping.insert, 0, number))
        else:
            session.execute(_SWEPT, {"id": number, "seq": reached})
        budget -= max(len(rows), 1)


def _unblock(session: Session, blocked: Sequence[int], now: Now) -> None:
    """Of jobs that are blocked as they come, let those go whose parents have all ended in the meantime."""
    waiting = those_waiting(session, blocked) if blocked else set()
    for seq in blocked:
        if seq not in waiting:
            blocked_one = any_snapshot(session, seq)
            assert blocked_one is not None
            unblock(session, blocked_one, now)


def clear_discarded(session: Session, number: int, budget: int) -> bool:
    """Delete up to `budget` rows of a batch that is no more. False: there is nothing left of it."""
    extent = session.execute(_EXTENT, {"id": number}).fetchone()
    if extent is None:
        return False
    swept, first, last = extent
    after = max(swept, first - 1)
    upto = min(after + WINDOW, last)
    seqs = session.execute(_SEQS, {"id": number, "after": after, "upto": upto, "slice": budget}).fetchall()
    note_last_seq(session)
    arguments = [{"seq": row[0]} for row in seqs]
    session.executemany(_DELETE_EDGES, arguments)
    for each in arguments:
        session.use_environment(session.execute(_DELETE_JOB, each).fetchall()[0][0], -1)
    for _, bundle, state in seqs:
        if bundle is not None:
            batches.change(session, bundle, jobs=-1, open_jobs=0 if JobState(state) in ENDED_STATES else -1)
    reached = seqs[-1][0] if len(seqs) == budget else upto
    if reached < last:
        session.execute(_SWEPT, {"id": number, "seq": reached})
        return True
    session.execute(_DELETE_COUNTS, {"id": number})
    session.execute(FORGET_FORWARDS, {"batch": number})
    session.execute(_DELETE, {"id": number})
    session.cache.hidden.discard(number)
    session.on_rollback(partial(session.cache.hidden.add, number))
    return False


def mark_abandoned(session: Session) -> list[int]:
    """At start: batches that nobody can commit any more are discarded. Gives all whose rows are to be cleared."""
    for number in session.cache.hidden:
        session.execute(_SET_STATE, {"id": number, "state": "discarded"})
    return sorted(session.cache.hidden)
