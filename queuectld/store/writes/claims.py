"""Claims: workers get the best jobs of the open lanes, as slots and resources allow.

A claim never reads a row that it cannot start. Of a lane it reads only the head, because all jobs of a lane have the
same demand. A head that does not fit is skipped, and reserves what it needs from all that come after it.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from peewee import SQL

from queuectl_client.protocol.vocabulary import EventKind, JobState
from queuectld import failpoints
from queuectld.domain.job import Claimed, Now, Options
from queuectld.domain.resources import PLAIN, SLOTS, Demand, reserve, variables
from queuectld.store.mapping import models
from queuectld.store.mapping.jobrows import OPTION_COLUMNS, read_options
from queuectld.store.mapping.rows import STATES, read_command, stored_granted
from queuectld.store.mapping.statement import arg, statement
from queuectld.store.writer.cache import reopening_ms
from queuectld.store.writer.lanes import LaneHead
from queuectld.store.writer.limits import Allocation
from queuectld.store.writer.session import Session
from queuectld.store.writes.transitions import snapshot, worker_detail

MAX_SKIPPED: Final = 256
"""Maximum number of heads that one turn skips; nothing behind them starts before one of them does."""
_Job: Final = models.Job
_HEAD: Final = statement(
    _Job.select(_Job.priority, _Job.rank, _Job.seq, _Job.state)
    .where((_Job.lane == arg("lane")) & _Job.lane.is_null(False))
    .order_by(_Job.priority.desc(), _Job.rank)
    .limit(arg("one"))
)
_RETURNED: Final = ("id", "run", "attempts", "queue", "environment", "command", "argv", *OPTION_COLUMNS)
_NULL: Final = SQL("NULL")
_CLAIM: Final = statement(
    _Job.update(
        state=SQL("'processing'"), lane=_NULL, worker=arg("worker"), run=_Job.run + SQL("1"),
        runs=_Job.runs + SQL("1"), started_ms=arg("now"), updated_ms=arg("now"), finished_ms=_NULL, exit_code=_NULL,
        signal=_NULL, reason=_NULL, reason_code=_NULL, granted=arg("granted"),
    )
    .where((_Job.seq == arg("seq")) & (_Job.lane == arg("lane")))
    .returning(*(getattr(_Job, name) for name in _RETURNED))
)  # fmt: skip


def reopen_queues(session: Session, now: Now) -> None:
    """Reopen queues whose rate limit allows another start."""
    for queue in sorted(session.cache.limits.rate_limited):
        limits = session.cache.limits.queues[queue]
        if limits.opens_ms is not None and limits.opens_ms <= now.store_ms:
            until_ms = reopening_ms(limits)
            session.close_until(queue, until_ms if until_ms is not None and until_ms > now.store_ms else None)
            session.open_or_close(queue)


def claim_best(session: Session, free: Sequence[int], now: Now) -> list[Claimed]:
    """Claim the best jobs that fit for free workers, in the order of `free`."""
    claimed: list[Claimed] = []
    reserved: dict[str, int] = {}
    fetch = partial(read_head, session)
    try:
        for worker in free:
            head = _best_fitting(session, fetch, reserved)
            if head is None:
                # All that became startable in this commit was considered, unless a claim has closed the queue of
                # a skipped job: its reservation no longer applies.
                session.ready = bool(claimed and reserved)
                break
            claimed.append(_claim(session, head, worker, now))
    finally:
        session.lanes.unskip_all()
    return claimed


def claim_dedicated(session: Session, worker: int, seq: int, now: Now) -> Claimed | None:
    """Claim for a dedicated worker its one job. None: the job may not start now."""
    job = snapshot(session, seq)
    if job is None or job.lane is None or not session.lanes.is_open(job.lane):
        return None
    if session.cache.limits.resources.shortages(session.cache.demands[job.lane], {}):
        return None
    return _claim(session, LaneHead(-job.priority, job.rank, seq, job.lane, job.state), worker, now)


def read_head(session: Session, lane: int) -> LaneHead | None:
    """Read the first job of a lane from the index."""
    row = session.execute(_HEAD, {"lane": lane, "one": 1}).fetchone()
    return None if row is None else LaneHead(-row[0], row[1], row[2], lane, STATES[row[3]])


def find_shortages(session: Session, head: LaneHead, reserved: dict[str, int]) -> list[str]:
    """Return the resources that are short for this head, and reserve its demand. Empty: it fits."""
    resources = session.cache.limits.resources
    wanted = session.cache.demands[head.lane]
    short = resources.shortages(wanted, reserved)
    if short and not resources.exceeding_total(wanted):
        reserve(wanted, short, reserved)
    return short


def _best_fitting(session: Session, fetch: "partial[LaneHead | None]", reserved: dict[str, int]) -> LaneHead | None:
    resources = session.cache.limits.resources
    for _ in range(MAX_SKIPPED):
        if resources.free(SLOTS) <= reserved.get(SLOTS, 0):
            return None
        head = session.lanes.best(fetch)
        if head is None or not find_shortages(session, head, reserved):
            return head
        session.lanes.skip(head.lane)
    return None


def _claim(session: Session, head: LaneHead, worker: int, now: Now) -> Claimed:
    wanted = session.cache.demands[head.lane]
    granted = session.cache.limits.resources.pick_numbers(wanted)
    values = {
        "seq": head.seq, "lane": head.lane, "worker": worker, "now": now.wall_ms, "granted": stored_granted(granted)
    }  # fmt: skip
    rows = session.execute(_CLAIM, values).fetchall()
    if len(rows) != 1:
        raise RuntimeError(f"job {head.seq} is not in lane {head.lane}, where it was found")
    id_, run, attempts, queue, environment, command, argv, *columns = rows[0]
    options = read_options(columns)
    failpoints.reached("claim.written")
    session.leave_lane(head.lane, head.seq)
    session.count(None, queue, head.state, True, -1)
    session.count(None, queue, JobState.PROCESSING, False, 1)
    session.allocate(Allocation(head.seq, queue, worker, options.key, wanted, granted), now)
    name = session.cache.queue_names[queue]
    session.record_event(
        EventKind.JOB_PROCESSING, now, job_id=id_, seq=head.seq, queue=name, run=run, worker=worker,
        detail={"attempt": attempts + 1} | worker_detail(session, worker),
    )  # fmt: skip
    return Claimed(
        seq=head.seq, id=id_, run=run, attempt=attempts + 1, worker=worker, queue=name,
        command=read_command(command, argv), environment_id=environment,
        options=options if wanted is PLAIN else _with_resources(options, wanted, granted),
    )  # fmt: skip


def _with_resources(options: Options, wanted: Demand, granted: Mapping[str, tuple[int, ...]]) -> Options:
    return options._replace(env={**options.env, **variables(granted, dict(wanted.needs))})
