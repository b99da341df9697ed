"""Idempotent requests: a repeat within a day gets the first answer and stores nothing.

The answer is stored in the same commit as the result.
"""

from collections.abc import Sequence
from typing import Any, Final

from queuectl_client.protocol.vocabulary import ErrorCode, JobState
from queuectld.domain.errors import Refused
from queuectld.domain.job import NewJob, Now
from queuectld.store.mapping.jobrows import NewRow, read_job, read_new_job
from queuectld.store.mapping.models import Request
from queuectld.store.mapping.rows import pack, unpack
from queuectld.store.mapping.statement import arg, insert_row, statement
from queuectld.store.records import Added, AddedOne, AddedSummary
from queuectld.store.writer.session import Session
from queuectld.store.writes import adding, registry, uploads
from queuectld.store.writes.transitions import SELECT_JOB

ENQUEUE: Final = "enqueue"
ENQUEUE_MANY: Final = "enqueue_many"
BATCH_COMMIT: Final = "batch.commit"
WORKER_START: Final = "worker.start"
_REQUEST: Final = statement(Request.select(Request.verb, Request.answer).where(Request.id == arg("id")))
_ADD_REQUEST: Final = insert_row(Request, ["id", "verb", "answer", "created_ms"])


def add_once(session: Session, new: NewJob, now: Now, request: str | None) -> AddedOne:
    """Store a job, or return the one that this request has stored."""
    known = known_one(session, request, new, now)
    if known is not None:
        return known
    added = adding.add(session, new, now)
    save_one(session, request, added, now)
    return added


def save_one(session: Session, request: str | None, added: AddedOne, now: Now) -> None:
    """Store the answer to a request for one job."""
    save_answer(session, request, ENQUEUE, [added.job.seq, added.job.id, added.skipped, added.replaced], now)


def known_one(session: Session, request: str | None, new: NewJob, now: Now) -> AddedOne | None:
    """Return the job that this request has stored; None if the request is new."""
    known = saved_answer(session, request, ENQUEUE)
    if known is None:
        return None
    seq, id_, skipped, replaced = known
    row = session.execute(SELECT_JOB, {"seq": seq}).fetchone()
    if row is not None:
        return AddedOne(read_job(row), skipped, replaced)
    # The job was removed since; repeat the first answer.
    new_row = NewRow(seq, id_, JobState.PENDING, 0, None, None, None, new.run_at_ms, now.wall_ms, None, None, (), 0)
    return AddedOne(read_new_job(new, new_row), skipped, replaced)


def add_many_once(session: Session, new: Sequence[NewJob], now: Now, request: str | None) -> Added:
    """Store many jobs, or return what this request has stored."""
    known = known_many(session, request)
    if known is not None:
        return known
    added = adding.add_many(session, new, now)
    save_answer(session, request, ENQUEUE_MANY, added, now)
    return added


def known_many(session: Session, request: str | None) -> Added | None:
    """Return what this request for many jobs has stored; None if the request is new."""
    known = saved_answer(session, request, ENQUEUE_MANY)
    return None if known is None else Added(*known)


def commit_many(session: Session, token: str, added: Added, now: Now, request: str | None) -> Added:
    """Commit the upload of a request for many jobs."""
    uploads.commit_upload(session, token, now)
    save_answer(session, request, ENQUEUE_MANY, added, now)
    return added


def commit_upload_once(session: Session, token: str, now: Now, request: str | None) -> AddedSummary:
    """Commit an upload, or return what this request has committed."""
    known = saved_answer(session, request, BATCH_COMMIT)
    if known is not None:
        return AddedSummary(*known)
    summary = uploads.commit_upload(session, token, now)
    save_answer(session, request, BATCH_COMMIT, summary, now)
    return summary


def add_pool_once(
    session: Session, kind: str, wanted: int, event_seq: int, now: Now, request: str | None
) -> tuple[int, int, bool]:
    """Store a pool, or find the one this request has stored. Return number, `event_seq`, and whether it is new."""
    known = saved_answer(session, request, WORKER_START)
    if known is not None:
        return known[0], known[1], False
    pool = registry.add_pool(session, kind, wanted, None, now)
    save_answer(session, request, WORKER_START, [pool, event_seq], now)
    return pool, event_seq, True


def saved_answer(session: Session, request: str | None, verb: str) -> Any:
    """Return the first answer to this request; None if the request is new."""
    if request is None:
        return None
    row = session.execute(_REQUEST, {"id": request}).fetchone()
    if row is None:
        return None
    if row[0] != verb:
        message = f"the request id {request!r} was used for {row[0]}; it cannot be used for {verb}"
        raise Refused(ErrorCode.CONFLICT, message)
    return unpack(row[1])


def save_answer(session: Session, request: str | None, verb: str, value: Any, now: Now) -> None:
    """Store the answer, in the same commit as the result."""
    if request is not None:
        session.execute(_ADD_REQUEST, (request, verb, pack(value), now.wall_ms))
