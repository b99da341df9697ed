"""Job state transitions: one conditional UPDATE, with its counts, lanes and event.

The caller decides what the job becomes; `domain.states` defines which transitions are allowed.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from peewee import SQL

from queuectl_client.protocol.vocabulary import ENDED_STATES, EventKind, JobState
from queuectld.domain.job import Job, Now
from queuectld.domain.reason import Reason
from queuectld.domain.resources import demand
from queuectld.domain.retry import RetryPolicy
from queuectld.domain.states import CLAIMABLE, may_follow
from queuectld.store.mapping import models
from queuectld.store.mapping.jobrows import read_job, read_retry
from queuectld.store.mapping.rows import STATES, read_needs, stored_reason
from queuectld.store.mapping.sql import AMONG_SEQS, WHOLE_JOB
from queuectld.store.mapping.statement import arg, statement
from queuectld.store.writer.lanes import LaneHead
from queuectld.store.writer.session import NOTHING, Session
from queuectld.store.writes import batches, concurrency_keys
from queuectld.store.writes.dependents import forget_parents, note_end


class JobSnapshot(NamedTuple):
    """Snapshot of a job's row: all that a transition reads or changes. Field names are those of the model."""

    seq: int
    id: str
    state: JobState
    queue: int
    priority: int
    rank: float
    lane: int | None
    in_line: int
    upload: int | None
    due_ms: int | None
    run_at_ms: int | None
    attempts: int
    run: int
    runs: int
    crashes: int
    worker: int | None
    ending: int | None
    paused: int
    started_ms: int | None
    finished_ms: int | None
    exit_code: int | None
    signal: int | None
    reason: str | None
    reason_code: str | None
    key: str | None
    key_limit: int
    slots: int
    needs: str | None
    batch_id: int | None
    once: int
    unique_key: str | None
    max_retries: int
    backoff_base: float
    backoff_max: float
    backoff_jitter: float
    retry_on: str | None
    no_retry_on: str | None

    @property
    def retry(self) -> RetryPolicy:
        """The job's retry policy."""
        return read_retry(*self[-6:])

    def with_reason(self, reason: Reason | None) -> "JobSnapshot":
        """Return a copy with this reason."""
        text, code = stored_reason(reason)
        return self._replace(reason=text, reason_code=code)

    @property
    def lane_needs(self) -> str:
        """The part of the lane's key besides the queue; empty for most jobs."""
        return "" if self.slots == 1 and not self.needs else demand(self.slots, read_needs(self.needs)).key()

    @property
    def holds_key(self) -> bool:
        """Whether the job counts against the limit of its concurrency key: it is in a lane, or a worker has it."""
        in_hand = self.state is JobState.PROCESSING or self.ending is not None
        return self.key is not None and (self.lane is not None or in_hand)


UNTIL_THEY_END: Final = 2**62
"""Due time of a job that waits for surviving processes of its last run to end; never reached."""
MAY_DEPEND: Final = frozenset({JobState.BLOCKED, JobState.HELD})
"""States in which a job may have unresolved dependencies."""
_FIRST, _UPDATED, _END = (JobSnapshot._fields.index(name) for name in ("state", "started_ms", "key"))
WRITTEN: Final = JobSnapshot._fields[_FIRST:_END]
"""Fields that a transition may change."""
_Job: Final = models.Job
_BY_SEQ: Final = _Job.seq == arg("seq")
_SELECT: Final = statement(_Job.select(*(getattr(_Job, name) for name in JobSnapshot._fields)).where(_BY_SEQ))
OF_THESE: Final = SQL("seq IN (SELECT value FROM json_each(:seqs))")
_SELECT_MANY: Final = statement(_Job.select(*(getattr(_Job, name) for name in JobSnapshot._fields)).where(OF_THESE))
_PLACE: Final = SQL("?")
AS_READ: Final = SQL("state = ? AND run = ? AND lane IS ? AND in_line = ?")
"""True while the row is as it was read; other jobs of its key may also change `lane` and `in_line`."""
_DELETE: Final = statement(_Job.delete().where((_Job.seq == _PLACE) & AS_READ).returning(_Job.environment))
_TRANSITION: Final = statement(
    _Job.update({getattr(_Job, name): _PLACE for name in (*WRITTEN, "updated_ms")}).where(
        (_Job.seq == _PLACE) & AS_READ
    )
)
"""Takes values by position, in the order of the model; binding by name is slower."""
_EVENT_OF: Final = {state: EventKind(f"job.{state}") for state in JobState}
_ADMIT: Final = statement(
    _Job.update(lane=arg("lane"), in_line=arg("in_line"), due_ms=arg("due_ms"), upload=SQL("NULL")).where(_BY_SEQ)
)  # fmt: skip
SELECT_JOB: Final = statement(_Job.select(WHOLE_JOB).where(_BY_SEQ))
_SELECT_JOBS: Final = statement(_Job.select(WHOLE_JOB).where(AMONG_SEQS))


def snapshot(session: Session, seq: int) -> JobSnapshot | None:
    """Return the snapshot of a job; None if it does not exist or belongs to an open upload."""
    found = any_snapshot(session, seq)
    return None if found is None or found.upload in session.cache.hidden_uploads else found


def snapshots(session: Session, seqs: Sequence[int]) -> dict[int, JobSnapshot]:
    """Return the snapshots of many jobs with one query, by number; missing jobs are left out."""
    hidden = session.cache.hidden_uploads
    found = map(read_snapshot, session.execute(_SELECT_MANY, {"seqs": json.dumps(seqs)}))
    return {each.seq: each for each in found if each.upload not in hidden}


def any_snapshot(session: Session, seq: int) -> JobSnapshot | None:
    """Like `snapshot`, but include jobs of open uploads."""
    row = session.execute(_SELECT, {"seq": seq}).fetchone()
    return None if row is None else read_snapshot(row)


def read_snapshot(row: tuple[Any, ...]) -> JobSnapshot:
    """Convert a row selected by the fields of JobSnapshot."""
    return JobSnapshot._make((*row[:2], STATES[row[2]], *row[3:]))


def job(session: Session, seq: int) -> Job:
    """Return the whole job, which must exist."""
    return read_job(session.execute(SELECT_JOB, {"seq": seq}).fetchone())


def jobs(session: Session, seqs: Sequence[int]) -> list[Job]:
    """Return many jobs with one query, in the order of `seqs`."""
    found = {row[0]: row for row in session.execute(_SELECT_JOBS, {"seqs": json.dumps(seqs)})}
    return [read_job(found[seq]) for seq in seqs]


def transition(
    session: Session, before: JobSnapshot, after: JobSnapshot, now: Now, *, detail: Mapping[str, Any] = NOTHING
) -> JobSnapshot:
    """Write the transition from `before` to `after` and record its event. Return the snapshot as written.

    Raises RuntimeError if the row no longer matches `before`. Only this thread writes, so the same request has
    changed the job, or another one of its key, since `before` was read.
    """
    after = allowed(session, before, after)
    values = (
        after.state._value_, *after[_FIRST + 1 : _UPDATED], now.wall_ms, *after[_UPDATED:_END],
        *_as_read(before),
    )  # fmt: skip
    if session.execute(_TRANSITION, values).rowcount != 1:
        raise stale_snapshot(before)
    _update_cache(session, before, after)
    if before.state is not after.state:
        if after.upload is None:
            record_change(session, before, after, now, detail)
        _note_change(session, before, after)
    if before.holds_key and not (after.holds_key and after.key == before.key):
        concurrency_keys.admit_next(session, _key(before))
    elif after.key is not None and after.lane is not None and before.state is JobState.PROCESSING:
        # It returns to its lane; a job of its key that goes before it may have been queued while it ran.
        concurrency_keys.rebalance(session, after.key)
    return after


def allowed(session: Session, before: JobSnapshot, after: JobSnapshot) -> JobSnapshot:
    """Return `after` as it is to be written. Raises RuntimeError if the state change is not allowed."""
    if before.state is not after.state and not may_follow(before.state, after.state):
        raise RuntimeError(f"invalid transition: {before.state} to {after.state}")
    if before.upload is not None and before.upload not in session.cache.hidden_uploads:
        after = after._replace(upload=None)
    if after.state not in CLAIMABLE and (after.lane is not None or after.in_line):
        after = after._replace(lane=None, in_line=0)
    return after


def _note_change(session: Session, before: JobSnapshot, after: JobSnapshot) -> None:
    """Update dependents and the batch of a job after a change of state."""
    ended, had_ended = after.state in ENDED_STATES, before.state in ENDED_STATES
    if ended:
        note_end(session, after.seq, after.id, after.state)
        if before.state in MAY_DEPEND:
            forget_parents(session, after.seq)
    if after.batch_id is not None and ended != had_ended:
        failed = _has_failed(after) - _has_failed(before)
        batches.change(session, after.batch_id, open_jobs=-1 if ended else 1, failed=failed)


def _as_read(job: JobSnapshot) -> tuple[int, str, int, int | None, int]:
    return job.seq, job.state._value_, job.run, job.lane, job.in_line


def stale_snapshot(job: JobSnapshot) -> RuntimeError:
    return RuntimeError(f"job {job.seq} has changed since it was read")


def _has_failed(job: JobSnapshot) -> bool:
    return job.state in (JobState.DEAD, JobState.CANCELLED)


def delete_job(session: Session, gone: JobSnapshot) -> None:
    """Delete the job's row and its counts. Its dependents see a job that had not ended as cancelled.

    Raises RuntimeError like `transition`.
    """
    deleted = session.execute(_DELETE, _as_read(gone)).fetchall()
    if len(deleted) != 1:
        raise stale_snapshot(gone)
    session.use_environment(deleted[0][0], -1)
    session.count(gone.upload, gone.queue, gone.state, gone.lane is not None, -1)
    if gone.lane is not None:
        session.leave_lane(gone.lane, gone.seq)
    if gone.due_ms is not None or gone.run_at_ms is not None:
        session.due_changed = True
    forget_parents(session, gone.seq)
    ended = gone.state in ENDED_STATES
    note_end(session, gone.seq, gone.id, gone.state if ended else JobState.CANCELLED)
    if gone.batch_id is not None:
        batches.change(session, gone.batch_id, jobs=-1, open_jobs=0 if ended else -1, failed=0 if ended else 1)
    if gone.holds_key:
        concurrency_keys.admit_next(session, _key(gone))


def release_allocation(session: Session, seq: int) -> None:
    """Release what the job holds once no worker has it, and admit the next job of its key."""
    allocation = session.release(seq)
    if allocation is not None and allocation.key is not None:
        concurrency_keys.admit_next(session, allocation.key)


def _key(job: JobSnapshot) -> str:
    assert job.key is not None
    return job.key


def _update_cache(session: Session, before: JobSnapshot, after: JobSnapshot) -> None:
    session.count(before.upload, before.queue, before.state, before.lane is not None, -1)
    session.count(after.upload, after.queue, after.state, after.lane is not None, 1)
    if before.lane is not None:
        session.leave_lane(before.lane, before.seq)
    if after.lane is not None:
        session.enter_lane(LaneHead(-after.priority, after.rank, after.seq, after.lane, after.state))
    if before.due_ms is not None or after.due_ms is not None or after.run_at_ms is not None:
        session.due_changed = True
    if before.state is JobState.PROCESSING and after.state is not JobState.PROCESSING and after.ending is None:
        session.release(before.seq)


def record_change(
    session: Session, before: JobSnapshot, after: JobSnapshot, now: Now, detail: Mapping[str, Any] = NOTHING
) -> None:
    """Record the event of a change of state."""
    worker = before.worker or after.worker
    common: dict[str, Any] = {"attempts": after.attempts, **worker_detail(session, worker)}
    if after.exit_code is not None:
        common["exit_code"] = after.exit_code
    if after.signal is not None:
        common["signal"] = after.signal
    if after.reason is not None:
        common["reason"] = after.reason
        common["reason_code"] = after.reason_code
    session.record_event(
        _EVENT_OF[after.state], now, job_id=after.id, seq=after.seq, queue=session.cache.queue_names[after.queue],
        run=before.run or None, worker=worker, detail={**common, **detail},
    )  # fmt: skip


def worker_detail(session: Session, worker: int | None) -> dict[str, int]:
    """Return a worker's pool and its number there, for events that are read after the worker has gone."""
    known = session.cache.workers.get(worker) if worker is not None else None
    return {} if known is None else {"pool": known[0], "worker_number": known[1]}


def admit_waiting(session: Session, waiting: Sequence[JobSnapshot], now: Now) -> None:
    """Assign lanes to jobs that are due or whose upload is committed. No event: their state does not change."""
    if any(each.key is not None for each in waiting):
        # One by one: whether a job of a key is admitted depends on those before it.
        for each in waiting:
            _admit_waiting(session, [each], now)
    else:
        _admit_waiting(session, waiting, now)
    session.due_changed = True


def _admit_waiting(session: Session, waiting: Sequence[JobSnapshot], now: Now) -> None:
    after = [assign_lane(session, each, now)._replace(upload=None) for each in waiting]
    session.executemany(_ADMIT, [
        {"seq": each.seq, "lane": each.lane, "in_line": each.in_line, "due_ms": each.due_ms} for each in after
    ])  # fmt: skip
    for before, each in zip(waiting, after, strict=True):
        if each.lane is not None:
            session.count(None, each.queue, each.state, before.lane is not None, -1)
            session.count(None, each.queue, each.state, True, 1)
            session.enter_lane(LaneHead(-each.priority, each.rank, each.seq, each.lane, each.state))


def assign_lane(session: Session, job: JobSnapshot, now: Now) -> JobSnapshot:
    """Return the job as it waits from now on: in its lane, in line for its key, or without a lane until it is due.

    Must be followed by `transition` or `admit_waiting`: another job of its key may have gone back in line for it.
    """
    if job.state not in CLAIMABLE:
        keep = None if job.state in ENDED_STATES else job.due_ms
        stands = job.lane is None and not job.in_line and job.due_ms == keep
        return job if stands else job._replace(lane=None, in_line=0, due_ms=keep)
    due_ms = job.due_ms if job.due_ms is not None and job.due_ms > now.store_ms else None
    # With a due time, `run_at_ms` is only shown: a step of the wall clock must not change a backoff.
    waits_for_wall = job.due_ms is None and job.state is JobState.PENDING and job.run_at_ms is not None
    waits = due_ms is not None or (waits_for_wall and (job.run_at_ms or 0) > now.wall_ms)
    # A job that was due stays due, even if the wall clock is set back afterwards.
    waits = waits and job.lane is None and not job.in_line
    if not waits and job.seq in session.cache.survivors:
        waits, due_ms = True, UNTIL_THEY_END
    if waits or job.upload in session.cache.hidden_uploads:
        return job._replace(lane=None, in_line=0, due_ms=due_ms)
    job = job._replace(lane=None, in_line=0, due_ms=None, upload=None)
    if job.key is not None:
        keyed = concurrency_keys.Keyed(job.seq, job.key, job.key_limit, job.priority, job.rank)
        if not concurrency_keys.admit(session, keyed):
            return job._replace(in_line=1)
    return job._replace(lane=session.lane_id(job.queue, job.lane_needs))
