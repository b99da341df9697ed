"""How a stored job comes to stand somewhere else: one conditional write, with its counts, lanes and event.

Whoever calls `move` has decided what the job becomes; what may follow what is the domain's table.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from peewee import SQL

from queuectl_client.protocol.vocabulary import ENDED_STATES, EventKind, JobState
from queuectld.domain.job import Job, Now
from queuectld.domain.retry import RetryPolicy
from queuectld.domain.states import CLAIMABLE, may_follow
from queuectld.store import models
from queuectld.store.lanes import Head
from queuectld.store.models import Dependency, Queue, Resolving
from queuectld.store.rows import STATES, read_job, read_retry
from queuectld.store.session import NOTHING, Session
from queuectld.store.statement import arg, insert_row, statement


class Standing(NamedTuple):
    """Where a job stands: all that a transition looks at or changes. Named as the columns."""

    seq: int
    id: str
    state: JobState
    queue: int
    priority: int
    rank: int
    lane: int | None
    batch: int | None
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
    slots: int
    needs: str | None
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

    @property
    def lane_needs(self) -> str:
        """What tells this job's lane from the others of its queue; empty for most."""
        return "" if self.slots == 1 and not self.needs else f"{self.slots} {self.needs or ''}"


MAY_DEPEND: Final = frozenset({JobState.BLOCKED, JobState.HELD})
"""States in which a job may still wait for others."""
WRITTEN: Final = (
    "state", "queue", "priority", "rank", "lane", "batch", "due_ms", "run_at_ms", "attempts", "run", "runs", "crashes",
    "worker", "ending", "paused", "started_ms", "finished_ms", "exit_code", "signal", "reason",
)  # fmt: skip
"""What a move may change."""
_Job: Final = models.Job
_BY_SEQ: Final = _Job.seq == arg("seq")
_SELECT: Final = statement(_Job.select(*(getattr(_Job, name) for name in Standing._fields)).where(_BY_SEQ))
_MOVE: Final = statement(
    _Job.update({getattr(_Job, name): arg(name) for name in (*WRITTEN, "updated_ms")}).where(
        _BY_SEQ & (_Job.state == arg("was_state")) & (_Job.run == arg("was_run"))
    )
)
_LET_IN: Final = statement(
    _Job.update(lane=arg("lane"), due_ms=arg("due_ms"), batch=SQL("NULL")).where(_BY_SEQ)
)  # fmt: skip
WITH_QUEUE_NAME: Final = Queue.select(Queue.name).where(Queue.id == _Job.queue)
"""A column: the name of the job's queue. No join, so that nothing tempts SQLite to begin with the queues."""
SELECT_JOB: Final = statement(_Job.select(_Job, WITH_QUEUE_NAME).where(_BY_SEQ))
_HAS_CHILDREN: Final = statement(
    Dependency.select(Dependency.child).where(Dependency.parent == arg("seq")).limit(arg("one"))
)
_FORGET_PARENTS: Final = statement(Dependency.delete().where(Dependency.child == arg("child")))
_RESOLVE: Final = insert_row(Resolving)


def standing(session: Session, seq: int) -> Standing | None:
    """Where the job stands; None when there is none, or an open batch hides it."""
    row = session.execute(_SELECT, {"seq": seq}).fetchone()
    if row is None or row[7] in session.memory.hidden:
        return None
    return read_standing(row)


def any_standing(session: Session, seq: int) -> Standing | None:
    """As `standing`, with the jobs that an open batch hides."""
    row = session.execute(_SELECT, {"seq": seq}).fetchone()
    return None if row is None else read_standing(row)


def read_standing(row: tuple[Any, ...]) -> Standing:
    """The row of a job, selected by the names of Standing."""
    return Standing._make((*row[:2], STATES[row[2]], *row[3:]))


def job(session: Session, seq: int) -> Job:
    """The whole job, which is there."""
    return read_job(session.execute(SELECT_JOB, {"seq": seq}).fetchone())


def move(
    session: Session, before: Standing, after: Standing, now: Now, *, detail: Mapping[str, Any] = NOTHING
) -> Standing:
    """Let the job stand as `after` says, if it still stands as `before` does; its event is told with the commit.

    Raises RuntimeError when it does not: this thread alone writes, so `before` was not read in this commit.
    """
    if before.state is not after.state and not may_follow(before.state, after.state):
        raise RuntimeError(f"{before.state} does not become {after.state}")
    if before.batch is not None and before.batch not in session.memory.hidden:
        after = after._replace(batch=None)
    values = {name: getattr(after, name) for name in WRITTEN}
    values |= {"state": after.state.value, "updated_ms": now.wall_ms, "seq": before.seq}
    values |= {"was_state": before.state.value, "was_run": before.run}
    if session.execute(_MOVE, values).rowcount != 1:
        raise RuntimeError(f"job {before.seq} no longer stands as it was read")
    _keep_in_step(session, before, after)
    if before.state is not after.state:
        if after.batch is None:
            _tell(session, before, after, now, detail)
        if after.state in ENDED_STATES:
            note_end(session, after)
            if before.state in MAY_DEPEND:
                forget_parents(session, after.seq)
    return after


def _keep_in_step(session: Session, before: Standing, after: Standing) -> None:
    session.count(before.batch, before.queue, before.state, before.lane is not None, -1)
    session.count(after.batch, after.queue, after.state, after.lane is not None, 1)
    if before.lane is not None:
        session.leave_lane(before.lane, before.seq)
    if after.lane is not None:
        session.enter_lane(Head(-after.priority, after.rank, after.seq, after.lane, after.state))
    if before.due_ms is not None or after.due_ms is not None or after.run_at_ms is not None:
        session.due_changed = True


def _tell(session: Session, before: Standing, after: Standing, now: Now, detail: Mapping[str, Any]) -> None:
    worker = before.worker or after.worker
    session.tell(
        EventKind(f"job.{after.state}"), now,
        job_id=after.id, seq=after.seq, queue=session.memory.queue_names[after.queue],
        run=before.run or None, worker=worker,
        detail={"attempts": after.attempts} | worker_detail(session, worker) | {
            key: value for key, value in (
                ("exit_code", after.exit_code), ("signal", after.signal), ("reason", after.reason)
            ) if value is not None
        } | dict(detail),
    )  # fmt: skip


def worker_detail(session: Session, worker: int | None) -> dict[str, int]:
    """A worker's pool and its number there, for an event that is read when the worker is long gone."""
    known = session.memory.workers.get(worker) if worker is not None else None
    return {} if known is None else {"pool": known[0], "worker_number": known[1]}


def let_in(session: Session, waiting: Sequence[Standing], now: Now) -> None:
    """Let jobs whose time has come, or whose batch is there, wait for a worker. Not told: they are what they were."""
    after = [placed(session, each, now)._replace(batch=None) for each in waiting]
    session.executemany(_LET_IN, [
        {"seq": each.seq, "lane": each.lane, "due_ms": each.due_ms} for each in after
    ])  # fmt: skip
    for before, each in zip(waiting, after, strict=True):
        if each.lane is not None:
            session.count(None, each.queue, each.state, before.lane is not None, -1)
            session.count(None, each.queue, each.state, True, 1)
            session.enter_lane(Head(-each.priority, each.rank, each.seq, each.lane, each.state))
    session.due_changed = True


def forget_parents(session: Session, child: int) -> None:
    """Let a job that has ended, or goes, wait for nobody."""
    session.execute(_FORGET_PARENTS, {"child": child})


def note_end(session: Session, ended: Standing) -> None:
    """Have the children of a job that has ended told, in slices (`dependencies.resolve`)."""
    if session.execute(_HAS_CHILDREN, {"seq": ended.seq, "one": 1}).fetchone() is None:
        return
    if ended.seq not in session.memory.resolving:
        session.execute(_RESOLVE, (ended.seq, ended.id, ended.state.value))
        session.memory.resolving.add(ended.seq)
        session.on_rewind(lambda: session.memory.resolving.discard(ended.seq))


def placed(session: Session, job: Standing, now: Now) -> Standing:
    """The job as it waits from now on: in its lane, or without one until its time comes or its batch is let in."""
    due_ms = job.due_ms if job.due_ms is not None and job.due_ms > now.store_ms else None
    waits = due_ms is not None or (job.run_at_ms is not None and job.run_at_ms > now.wall_ms)
    if job.state not in CLAIMABLE or waits or job.batch in session.memory.hidden:
        keep = job.due_ms if job.state not in CLAIMABLE else due_ms
        return job._replace(lane=None, due_ms=None if job.state in ENDED_STATES else keep)
    return job._replace(lane=session.lane_id(job.queue, job.lane_needs), due_ms=None, batch=None)
