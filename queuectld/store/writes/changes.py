"""Actions of users on jobs: cancel, hold, release, retry, pause.

All of the jobs are changed, or none. Where a list `refusals` is given, jobs that do not permit the action are skipped
and the reasons are appended to it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from peewee import SQL

from queuectl_client.protocol.permits import PERMITS, JobAction, refusal
from queuectl_client.protocol.vocabulary import ENDED_STATES, ErrorCode, EventKind, JobState
from queuectld.domain.errors import Refused
from queuectld.domain.job import Now
from queuectld.domain.reason import CANCELLED
from queuectld.domain.states import backs_off
from queuectld.store.mapping import models
from queuectld.store.mapping.statement import arg, statement
from queuectld.store.records import Cancelled
from queuectld.store.writer.session import Session
from queuectld.store.writes.bulk_transitions import bulk_transition
from queuectld.store.writes.dependencies import resolve
from queuectld.store.writes.dependents import those_waiting
from queuectld.store.writes.retry_dependencies import block_retried
from queuectld.store.writes.transitions import JobSnapshot, assign_lane, jobs, snapshot, snapshots

S = JobState
Refusals = list[Refused] | None
"""Collects the refusals of skipped jobs; None: the first refusal is raised."""
_Job: Final = models.Job
_PAUSE: Final = statement(
    _Job.update(paused=arg("paused"), updated_ms=arg("now")).where(
        (_Job.seq == arg("seq")) & (_Job.run == arg("run")) & (_Job.state == arg("state"))
        & (_Job.paused != arg("paused"))
    )
)  # fmt: skip


def require_snapshot(session: Session, seq: int) -> JobSnapshot:
    """Return the snapshot of a job. Raises Refused (not_found) if there is none."""
    found = snapshot(session, seq)
    if found is None:
        raise Refused(ErrorCode.NOT_FOUND, f"no such job: {seq}", {"seq": seq})
    return found


def wrong_state(job: JobSnapshot, why: str) -> Refused:
    """Build the refusal for a job in the wrong state. `why` is a clause."""
    data = {"id": job.id, "seq": job.seq, "state": str(job.state), "why": why}
    return Refused(ErrorCode.WRONG_STATE, f"{job.id} is {job.state}; {why}", data)


def check_permitted(session: Session, action: JobAction, job: JobSnapshot) -> None:
    """Raise Refused if the job does not permit the action."""
    # For a retry, a job that was held and released during its backoff counts as failed.
    backing_off = action is JobAction.RETRY and backs_off(job.state, job.attempts, job.due_ms is not None)
    why = refusal(action, S.FAILED if backing_off else job.state)
    if why is not None:
        if action is JobAction.RELEASE and (instead := _what_releases(job)):
            refused = wrong_state(job, instead)
            refused.message = f"{job.id} is not held; {instead}"
            raise refused
        refused = wrong_state(job, why)
        if action in _OF_THE_DLQ:
            refused.message = f"{job.id} is not in the dead letter queue: it is {job.state}"
        raise refused
    if PERMITS[action].at_rest and job.ending is not None:
        raise wrong_state(job, f"its processes are still being ended by worker w{job.ending}")
    if action in _AGAIN:
        _refuse_second_holder(session, job)


def _what_releases(job: JobSnapshot) -> str | None:
    """What lets a job run that waits for something else than to be released."""
    if backs_off(job.state, job.attempts, job.due_ms is not None):
        return f"it waits before its retry. To run it now: queuectl retry {job.id}"
    if job.state is S.BLOCKED:
        return f"it waits for other jobs. To run it without them: queuectl edit {job.id} depends_on=none"
    if job.state is S.PENDING and job.lane is None and not job.in_line:
        return f"it is delayed. To run it now: queuectl edit {job.id} run_at=none"
    if job.state is S.PROCESSING and job.paused:
        return f"it is paused. To let it go on: queuectl resume {job.id}"
    return None


_OF_THE_DLQ: Final = frozenset({JobAction.DLQ_RETRY, JobAction.DLQ_PURGE})
_AGAIN: Final = frozenset({JobAction.DLQ_RETRY, JobAction.RETRY})


def each_permitted(
    session: Session, action: JobAction, seqs: Iterable[int], refusals: Refusals = None
) -> Iterator[JobSnapshot]:
    """Yield the snapshot of each job that permits the action.

    A job with a key is read when it is yielded, because a change of one job may change others of its key: callers
    change each job before they take the next. The rest are read with one query. A refusal rolls back the whole
    request, so there is no need to check all jobs first.
    """
    wanted = list(dict.fromkeys(seqs))
    ahead = snapshots(session, wanted) if len(wanted) > 1 else {}
    for seq in wanted:
        try:
            found = ahead.get(seq)
            if found is None or found.key is not None:
                found = require_snapshot(session, seq)
            check_permitted(session, action, found)
        except Refused as refused:
            if refusals is None:
                raise
            refusals.append(refused)
        else:
            if refusals is not None and (why := _is_so_already(action, found)):
                refusals.append(wrong_state(found, why))
            else:
                yield found


def _is_so_already(action: JobAction, job: JobSnapshot) -> str | None:
    """Why a job matched by a selector does not need the action; on a job named by its id it may be repeated."""
    if action is JobAction.PAUSE and job.paused:
        return "it is paused already"
    return "it is not paused" if action is JobAction.RESUME and not job.paused else None


def cancel_each(
    session: Session, seqs: Sequence[int], now: Now, refusals: Refusals = None
) -> list[JobSnapshot]:  # fmt: skip
    """Cancel jobs. A processing job keeps its worker in `ending` until the worker has ended its processes.

    Returns the snapshots from before, like the other functions here.
    """
    ended: list[JobSnapshot] = []
    with bulk_transition(session, now) as transition:
        for each in each_permitted(session, JobAction.CANCEL, seqs, refusals):
            transition(each, each._replace(
                state=S.CANCELLED, lane=None, due_ms=None, worker=None, ending=each.worker, paused=0,
                finished_ms=now.wall_ms,
            ).with_reason(CANCELLED))  # fmt: skip
            ended.append(each)
    resolve(session, now)
    return ended


def cancelled(session: Session, ended: Sequence[JobSnapshot]) -> list[Cancelled]:
    """Return the cancelled jobs as they are now, each with the run that a worker still has to end."""
    after = jobs(session, [before.seq for before in ended])
    return [
        Cancelled(job, None if before.worker is None else before.run, before.worker)
        for job, before in zip(after, ended, strict=True)
    ]  # fmt: skip


def hold(session: Session, seqs: Sequence[int], now: Now, refusals: Refusals = None) -> list[JobSnapshot]:
    """Hold waiting jobs until they are released. A held job stays held."""

    def held(each: JobSnapshot) -> JobSnapshot:
        # A job that was due stays due: once released, it does not wait for the wall clock again.
        has_come = each.lane is not None or bool(each.in_line)
        return each._replace(state=S.HELD, lane=None, due_ms=now.store_ms if has_come else each.due_ms)

    return _change_each(session, each_permitted(session, JobAction.HOLD, seqs, refusals), now, held)


def release(session: Session, seqs: Sequence[int], now: Now, refusals: Refusals = None) -> list[JobSnapshot]:
    """Release held jobs: they run when they are due and their dependencies have ended."""

    waiting = those_waiting(session, seqs)

    def released(each: JobSnapshot) -> JobSnapshot:
        state = S.BLOCKED if each.seq in waiting else S.PENDING
        return assign_lane(session, each._replace(state=state), now)

    return _change_each(session, each_permitted(session, JobAction.RELEASE, seqs, refusals), now, released)


def retry_each(
    session: Session, fit: Iterator[JobSnapshot], now: Now, delay_ms: Callable[[int], int] | None = None
) -> list[JobSnapshot]:
    """Run jobs again that are known to permit it, from 0 attempts; a failed one without its backoff.

    Jobs that had ended wait again for parents that have not ended, or are among them. `delay_ms` returns the delay of
    the n-th job that runs again, in ms; None: no delay.
    """
    count = 0

    def retried(each: JobSnapshot) -> JobSnapshot:
        nonlocal count
        if backs_off(each.state, each.attempts, each.due_ms is not None):
            return assign_lane(session, each._replace(state=S.PENDING, due_ms=None, run_at_ms=None), now)
        delay = 0 if delay_ms is None else delay_ms(count)
        count += 1
        return assign_lane(session, each._replace(
            state=S.PENDING, attempts=0, crashes=0, due_ms=now.store_ms + delay if delay else None,
            run_at_ms=now.wall_ms + delay if delay else None, started_ms=None, finished_ms=None,
            exit_code=None, signal=None,
        ).with_reason(None), now)  # fmt: skip

    changed = _change_each(session, fit, now, retried)
    block_retried(session, [each for each in changed if each.state in ENDED_STATES], now)
    return changed


def _change_each(
    session: Session, fit: Iterator[JobSnapshot], now: Now, change: Callable[[JobSnapshot], JobSnapshot]
) -> list[JobSnapshot]:
    changed: list[JobSnapshot] = []
    with bulk_transition(session, now) as transition:
        for before in fit:
            after = change(before)
            if after != before:
                transition(before, after)
            changed.append(before)
    return changed


_KEY_HOLDER: Final = statement(
    _Job.select(_Job.seq, _Job.id).where((_Job.unique_key == arg("key")) & SQL(models.HOLDS_KEY))
)


def _refuse_second_holder(session: Session, each: JobSnapshot) -> None:
    """Raise Refused (conflict) if another job has taken the unique key since this one ended."""
    if each.unique_key is None:
        return
    row = session.execute(_KEY_HOLDER, {"key": each.unique_key}).fetchone()
    if row is not None and row[0] != each.seq:
        message = f"the unique key {each.unique_key!r} of job {each.id} is now held by job {row[1]}"
        data = {"id": row[1], "seq": row[0], "state": str(each.state), "why": f"job {row[1]} now has its unique key"}
        raise Refused(ErrorCode.CONFLICT, message, data)


def set_paused(session: Session, seq: int, run: int, paused: bool, now: Now) -> bool:
    """Store whether the run is paused. Returns False if it has ended, or nothing changes."""
    values = {"seq": seq, "run": run, "paused": int(paused), "now": now.wall_ms, "state": S.PROCESSING.value}
    if not session.execute(_PAUSE, values).rowcount:
        return False
    each = require_snapshot(session, seq)
    kind = EventKind.JOB_PAUSED if paused else EventKind.JOB_RESUMED
    queue = session.cache.queue_names[each.queue]
    session.record_event(kind, now, job_id=each.id, seq=seq, queue=queue, run=run, worker=each.worker)
    return True
