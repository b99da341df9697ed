"""Uploads: jobs sent in several messages that become visible at one moment, or not at all. Stored in the table `batch`.

The jobs of an open upload are stored but hidden. The commit is one small write; the jobs enter their lanes afterwards,
in slices. Uploads left open when the daemon ended are discarded.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from peewee import SQL

from queuectl_client.protocol.vocabulary import ENDED_STATES, ErrorCode, EventKind, JobState
from queuectld.domain.errors import Refused
from queuectld.domain.job import NewJob, Now
from queuectld.store.mapping.models import Count, Dependency, Job, Upload
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
"""Rows read in one slice, where other jobs lie between those of the upload."""
_OPEN: Final = insert_row(Upload, ["token", "state", "added", "first_seq", "last_seq", "swept_seq", "created_ms"])
_FIND: Final = statement(
    Upload.select(Upload.id, Upload.added, Upload.first_seq, Upload.last_seq).where(
        (Upload.token == arg("token")) & (Upload.state == SQL("'open'"))
    )
)
_GROW: Final = statement(
    Upload.update(added=Upload.added + arg("added"), first_seq=arg("first"), last_seq=arg("last")).where(
        Upload.id == arg("id")
    )
)
_SET_STATE: Final = statement(Upload.update(state=arg("state")).where(Upload.id == arg("id")))
_SWEPT: Final = statement(Upload.update(swept_seq=arg("seq")).where(Upload.id == arg("id")))
_EXTENT: Final = statement(
    Upload.select(Upload.swept_seq, Upload.first_seq, Upload.last_seq).where(Upload.id == arg("id"))
)
_DELETE: Final = statement(Upload.delete().where(Upload.id == arg("id")))
_COUNTS: Final = statement(
    Count.select(Count.queue, Count.state, Count.ready, Count.n).where(Count.upload == arg("id"))
)
_DELETE_COUNTS: Final = statement(Count.delete().where(Count.upload == arg("id")))
_IN_WINDOW: Final = (Job.seq > arg("after")) & (Job.seq <= arg("upto")) & (Job.upload == arg("id"))
_ROWS: Final = statement(
    Job.select(*(getattr(Job, name) for name in JobSnapshot._fields))
    .where(_IN_WINDOW)
    .order_by(Job.seq)
    .limit(arg("slice"))
)
_SEQS: Final = statement(
    Job.select(Job.seq, Job.batch_id, Job.state).where(_IN_WINDOW).order_by(Job.seq).limit(arg("slice"))
)
_DELETE_JOB: Final = statement(Job.delete().where(Job.seq == arg("seq")).returning(Job.environment))
_DELETE_EDGES: Final = statement(
    Dependency.delete().where((Dependency.child == arg("seq")) | (Dependency.parent == arg("seq")))
)


def open_upload(session: Session, token: str, now: Now) -> None:
    """Open an upload with this token."""
    number = session.execute(_OPEN, (token, "open", 0, 0, 0, 0, now.wall_ms)).lastrowid
    if number is None:
        raise RuntimeError("an INSERT gave no row id")
    session.cache.hidden_uploads.add(number)
    session.on_rollback(partial(session.cache.hidden_uploads.discard, number))


def add_to_upload(session: Session, token: str, new: Sequence[NewJob], now: Now, first: int = 0) -> Added:
    """Store jobs that are hidden until the commit. A taken id is refused at once."""
    number, _, lowest, highest = _find(session, token)
    added, count = put_all(session, new, now, number, first)
    if count:
        seqs = [seq for seq in added.seqs if seq > highest]
        values = {"id": number, "added": count, "first": lowest or min(seqs), "last": max(seqs)}
        session.execute(_GROW, values)
    return added


def refuse_missing_of(session: Session, token: str) -> None:
    """Raise Refused (not_found) if a job of the upload depends on one that was not added."""
    refuse_missing(session, _find(session, token)[0])


def commit_upload(session: Session, token: str, now: Now, *, announce: bool = True) -> AddedSummary:
    """Make all jobs of the upload visible. They enter their lanes in later slices (`admit_uploaded`).

    `announce`: record one event for all; else the caller does. Refused (not_found) if a job depends on one that was
    not added.
    """
    number, count, first, last = _find(session, token)
    refuse_missing(session, number)
    session.cache.hidden_uploads.discard(number)
    session.on_rollback(partial(session.cache.hidden_uploads.add, number))
    for queue, state, ready, n in session.execute(_COUNTS, {"id": number}).fetchall():
        session.count(None, queue, JobState(state), bool(ready), n)
    session.execute(_DELETE_COUNTS, {"id": number})
    if not count:
        session.execute(_DELETE, {"id": number})
        return AddedSummary(0, 0, 0)
    session.execute(_SET_STATE, {"id": number, "state": "committed"})
    session.cache.committed_uploads.append(number)
    session.on_rollback(partial(session.cache.committed_uploads.remove, number))
    if announce:
        session.record_event(EventKind.JOBS_ADDED, now, detail={"first_seq": first, "last_seq": last, "count": count})
    session.ready = True
    return AddedSummary(count, first, last)


def discard_upload(session: Session, token: str) -> int:
    """Discard the upload and return its number. Its rows are deleted in slices (`clear_discarded`)."""
    number: int = _find(session, token)[0]
    session.execute(_SET_STATE, {"id": number, "state": "discarded"})
    return number


def _find(session: Session, token: str) -> Any:
    row = session.execute(_FIND, {"token": token}).fetchone()
    if row is None:
        raise Refused(ErrorCode.NOT_FOUND, f"no such open batch: {token!r}", {"token": token})
    return row


def admit_uploaded(session: Session, now: Now, budget: int) -> None:
    """Admit up to `budget` jobs of committed uploads; `session.cache.committed_uploads` holds what is left."""
    while budget > 0 and session.cache.committed_uploads:
        number = session.cache.committed_uploads[0]
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
            session.cache.committed_uploads.pop(0)
            session.on_rollback(partial(session.cache.committed_uploads.insert, 0, number))
        else:
            session.execute(_SWEPT, {"id": number, "seq": reached})
        budget -= max(len(rows), 1)


def _unblock(session: Session, blocked: Sequence[int], now: Now) -> None:
    """Unblock jobs whose parents have all ended since they were uploaded."""
    waiting = those_waiting(session, blocked) if blocked else set()
    for seq in blocked:
        if seq not in waiting:
            blocked_one = any_snapshot(session, seq)
            assert blocked_one is not None
            unblock(session, blocked_one, now)


def clear_discarded(session: Session, number: int, budget: int) -> bool:
    """Delete up to `budget` rows of a discarded upload. Return whether more are left."""
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
    for _, batch_id, state in seqs:
        if batch_id is not None:
            batches.change(session, batch_id, jobs=-1, open_jobs=0 if JobState(state) in ENDED_STATES else -1)
    reached = seqs[-1][0] if len(seqs) == budget else upto
    if reached < last:
        session.execute(_SWEPT, {"id": number, "seq": reached})
        return True
    session.execute(_DELETE_COUNTS, {"id": number})
    session.execute(FORGET_FORWARDS, {"upload": number})
    session.execute(_DELETE, {"id": number})
    session.cache.hidden_uploads.discard(number)
    session.on_rollback(partial(session.cache.hidden_uploads.add, number))
    return False


def mark_abandoned(session: Session) -> list[int]:
    """Discard uploads left open by the last daemon. Return all uploads whose rows are to be deleted."""
    for number in session.cache.hidden_uploads:
        session.execute(_SET_STATE, {"id": number, "state": "discarded"})
    return sorted(session.cache.hidden_uploads)
