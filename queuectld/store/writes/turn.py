"""The turn: store outcomes, admit due jobs, claim jobs for free workers. One request, one commit."""

from collections.abc import Mapping, Sequence
from typing import Final

from peewee import SQL

from queuectl_client.protocol.vocabulary import JobState, ReasonCode
from queuectld import failpoints
from queuectld.domain.job import Now
from queuectld.domain.outcome import EndKind, Outcome, Running, Transition, apply_outcome, failure_reason
from queuectld.domain.reason import Reason
from queuectld.store.mapping import models
from queuectld.store.mapping.models import WAITS_FOR_STORE_TIME, WAITS_FOR_WALL_TIME
from queuectld.store.mapping.rows import output_blob, stored_reason, stored_text
from queuectld.store.mapping.statement import arg, insert_row, statement
from queuectld.store.records import StoredOutcome, Turn
from queuectld.store.writer.session import Session
from queuectld.store.writes import survivors, transitions
from queuectld.store.writes.claims import claim_best, claim_dedicated, reopen_queues
from queuectld.store.writes.dependencies import resolve
from queuectld.store.writes.registry import pause_queue
from queuectld.store.writes.transitions import (
    JobSnapshot,
    assign_lane,
    read_snapshot,
    release_allocation,
    snapshot,
    transition,
)
from queuectld.store.writes.uploads import admit_uploaded

SLICE: Final = 500
"""Maximum number of jobs admitted in one turn."""
STEP: Final = 50
"""Jobs admitted before it is asked whether other requests wait; if so, the next turn goes on."""
_Job: Final = models.Job
_INSERT_ATTEMPT: Final = insert_row(models.Attempt, unless_there=True)
_END_ENDING: Final = statement(_Job.update(ending=SQL("NULL")).where(_Job.seq == arg("seq")))
_WAITING: Final = _Job.select(*(getattr(_Job, name) for name in JobSnapshot._fields))
_DUE_BY_STORE: Final = statement(
    _WAITING.where(SQL(WAITS_FOR_STORE_TIME) & (_Job.due_ms <= arg("now"))).order_by(_Job.due_ms).limit(arg("slice"))
)
_DUE_BY_WALL: Final = statement(
    _WAITING.where(SQL(WAITS_FOR_WALL_TIME) & (_Job.run_at_ms <= arg("now")))
    .order_by(_Job.run_at_ms)
    .limit(arg("slice"))
)


def turn(
    session: Session,
    outcomes: Sequence[Outcome],
    free: Sequence[int],
    dedicated: Mapping[int, int],
    now: Now,
    crash_limit: int,
    chance: float,
) -> Turn:
    """Store outcomes, admit due jobs, and claim the best jobs for `free` workers and their own for `dedicated` ones."""
    stored = [_store(session, outcome, now, crash_limit, chance) for outcome in outcomes]
    resolve(session, now)
    more = _admit(session, now)
    reopen_queues(session, now)
    claimed = [done for worker, seq in dedicated.items() if (done := claim_dedicated(session, worker, seq, now))]
    claimed += claim_best(session, free, now)
    more = more or bool(session.cache.committed_uploads) or bool(session.cache.resolving)
    return Turn(stored, claimed, more)


def _store(session: Session, outcome: Outcome, now: Now, crash_limit: int, chance: float) -> StoredOutcome:
    """Store one outcome. Fenced by (seq, run, processing): a late or repeated one changes nothing."""
    before = snapshot(session, outcome.seq)
    if before is None or before.run != outcome.run:
        return StoredOutcome(outcome.seq, outcome.run, before.id if before else None, None)
    if before.state is JobState.CANCELLED:
        return _store_cancelled(session, before, outcome)
    if before.state is not JobState.PROCESSING:
        return StoredOutcome(outcome.seq, outcome.run, before.id, None)
    running = Running(
        before.seq, before.run, before.attempts, before.crashes, bool(before.once), before.retry
    )  # fmt: skip
    change = apply_outcome(running, outcome, crash_limit=crash_limit, chance=chance)
    _insert_attempt(session, before, outcome, change.reason)
    if outcome.survivors:
        survivors.replace(session, before.seq, outcome.survivors)
    detail = {"duration_ms": outcome.duration_ms}
    if change.to is JobState.FAILED and change.delay_ms is not None:
        detail["run_at_ms"] = now.wall_ms + change.delay_ms
    transition(session, before, _after(session, before, outcome, change, now), now, detail=detail)
    _count_failures(session, before, change, now)
    failpoints.reached("outcome.written")
    return StoredOutcome(outcome.seq, outcome.run, before.id, change.to)


def _count_failures(session: Session, job: JobSnapshot, change: Transition, now: Now) -> None:
    """Pause the queue once its limit of consecutive failures is reached. A crash is not a failure of the job."""
    limits = session.cache.limits.queues[job.queue]
    if limits.failure_limit is None:
        return
    if change.to is JobState.COMPLETED:
        if limits.failures:
            session.count_failures(job.queue, 0)
    elif change.attempts > job.attempts:
        session.count_failures(job.queue, limits.failures + 1)
        if limits.failures >= limits.failure_limit and not limits.paused:
            why = "" if change.reason is None else f" ({change.reason.text})"
            because = f"{limits.failures} executions in a row failed, the last one of job {job.id}{why}"
            pause_queue(session, job.queue, because, now)


def _after(session: Session, before: JobSnapshot, outcome: Outcome, change: Transition, now: Now) -> JobSnapshot:
    if change.to is JobState.PENDING:
        # It waits as if it had never started; only the attempt shows what became of this run.
        waiting = before._replace(state=change.to, attempts=change.attempts, crashes=change.crashes, worker=None)
        return assign_lane(session, waiting._replace(paused=0, due_ms=now.store_ms, started_ms=None), now)
    due_ms = None if change.delay_ms is None else now.store_ms + change.delay_ms
    run_at_ms = now.wall_ms + (change.delay_ms or 0) if change.to is JobState.FAILED else before.run_at_ms
    after = before._replace(
        state=change.to, attempts=change.attempts, crashes=change.crashes, worker=None, paused=0, due_ms=due_ms,
        run_at_ms=run_at_ms,
        started_ms=outcome.started_ms, finished_ms=outcome.finished_ms, exit_code=outcome.exit_code,
        signal=outcome.signal,
    )  # fmt: skip
    return assign_lane(session, after if change.reason is None else after.with_reason(change.reason), now)


def _store_cancelled(session: Session, before: JobSnapshot, outcome: Outcome) -> StoredOutcome:
    """Store the outcome of a run that was cancelled, as an attempt; the job itself does not change."""
    why = [before.reason or "cancelled", *(each.words for each in outcome.survivors)]
    new = _insert_attempt(session, before, outcome, Reason(ReasonCode.CANCELLED, "; ".join(why)))
    if new and outcome.survivors:
        survivors.replace(session, before.seq, outcome.survivors)
    session.execute(_END_ENDING, {"seq": before.seq})
    release_allocation(session, before.seq)
    return StoredOutcome(outcome.seq, outcome.run, before.id, JobState.CANCELLED if new else None)


def _insert_attempt(session: Session, job: JobSnapshot, outcome: Outcome, reason: Reason | None) -> bool:
    if reason is None and not outcome.succeeded:
        reason = failure_reason(outcome)
    text, code = stored_reason(reason)
    return session.execute(_INSERT_ATTEMPT, (
        job.seq, job.run, job.attempts + 1, outcome.worker if outcome.worker is not None else job.worker,
        session.host, outcome.started_ms, outcome.finished_ms, max(outcome.duration_ms, 0), outcome.exit_code,
        outcome.signal, text, int(outcome.kind is EndKind.CRASHED), outcome.pid, outcome.user_us,
        outcome.system_us, outcome.max_rss_kib,
        None if outcome.left_behind is None else stored_text(outcome.left_behind), output_blob(outcome.output),
        code,
    )).rowcount == 1  # fmt: skip


def _admit(session: Session, now: Now) -> bool:
    """Admit due jobs and those of committed uploads. Return whether more jobs may be due."""
    # Jobs that became due in this very commit are for the next turn.
    due = session.cache.due.is_past(now)
    left = SLICE
    while left > 0:
        admitted = _admit_due(session, now) if due else 0
        due = admitted == STEP
        if not due:
            if not session.cache.committed_uploads:
                break
            admit_uploaded(session, now, STEP)
        left -= STEP
        if session.others_wait():
            break
    return due


def _admit_due(session: Session, now: Now) -> int:
    """Admit up to STEP due jobs; return how many. A failed job stays `failed` until it is claimed."""
    rows = session.execute(_DUE_BY_STORE, {"now": now.store_ms, "slice": STEP}).fetchall()
    if len(rows) < STEP:
        values = {"now": now.wall_ms, "slice": STEP - len(rows)}
        rows += session.execute(_DUE_BY_WALL, values).fetchall()
    transitions.admit_waiting(session, [read_snapshot(row) for row in rows], now)
    return len(rows)


def return_claims(session: Session, claims: Sequence[tuple[int, int]], now: Now) -> None:
    """Undo claims that never reached their worker: the jobs are pending again; only the run number has grown."""
    for seq, run in claims:
        before = snapshot(session, seq)
        if before is None or before.run != run:
            continue
        if before.state is JobState.CANCELLED and before.ending is not None:
            session.execute(_END_ENDING, {"seq": seq})
            release_allocation(session, seq)
        elif before.state is JobState.PROCESSING:
            after = before._replace(
                state=JobState.PENDING, worker=None, paused=0, runs=before.runs - 1, started_ms=None,
                due_ms=now.store_ms,  # it was due, whatever the wall clock says by now
            )  # fmt: skip
            transition(session, before, assign_lane(session, after, now), now)
