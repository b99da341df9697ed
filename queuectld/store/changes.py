"""What people do to jobs: cancel, hold, release, retry, pause. Each of several jobs, or none of them."""

from collections.abc import Callable, Sequence
from typing import Final

from peewee import SQL

from queuectl_client.protocol.vocabulary import ENDED_STATES, ErrorCode, EventKind, JobState
from queuectld.domain.errors import Refused
from queuectld.domain.job import Job, Now
from queuectld.store import models
from queuectld.store.dependencies import resolve
from queuectld.store.endings import is_waiting
from queuectld.store.moves import Standing, job, move, placed, standing
from queuectld.store.records import Cancelled
from queuectld.store.session import Session
from queuectld.store.statement import arg, statement

S = JobState
WAITING: Final = frozenset({S.PENDING, S.FAILED, S.HELD, S.BLOCKED})
_Job: Final = models.Job
_PAUSE: Final = statement(
    _Job.update(paused=arg("paused"), updated_ms=arg("now")).where(
        (_Job.seq == arg("seq")) & (_Job.run == arg("run")) & (_Job.state == arg("state"))
        & (_Job.paused != arg("paused"))
    )
)  # fmt: skip


def needed(session: Session, seq: int) -> Standing:
    """Where the job stands. Raises Refused when there is none."""
    found = standing(session, seq)
    if found is None:
        raise Refused(ErrorCode.NOT_FOUND, f"There is no job {seq}.", {"seq": seq})
    return found


def refuse_state(job: Standing, sentence: str) -> Refused:
    """The refusal for a job in the wrong state."""
    return Refused(ErrorCode.WRONG_STATE, f"Job {job.id} is {job.state}; {sentence}", {"id": job.id, "seq": job.seq})


def cancel(session: Session, seqs: Sequence[int], now: Now, reason: str) -> list[Cancelled]:
    """End jobs for good; one that is processing is still to be ended by its worker, which stays noted until then."""
    found = [needed(session, seq) for seq in dict.fromkeys(seqs)]
    for each in found:
        if each.state in ENDED_STATES:
            raise refuse_state(each, "it has ended and cannot be cancelled.")
    for each in found:
        move(session, each, each._replace(
            state=S.CANCELLED, lane=None, due_ms=None, worker=None, ending=each.worker, paused=0,
            finished_ms=now.wall_ms, reason=reason,
        ), now)  # fmt: skip
    resolve(session, now)
    return [
        Cancelled(job(session, each.seq), each.run if each.worker is not None else None, each.worker)
        for each in found
    ]  # fmt: skip


def hold(session: Session, seqs: Sequence[int], now: Now) -> list[Job]:
    """Keep waiting jobs back until they are released. One that is held already stays so."""

    def held(each: Standing) -> Standing:
        if each.state not in WAITING:
            raise refuse_state(each, "only a waiting job can be held.")
        return each._replace(state=S.HELD, lane=None)

    return _change_all(session, seqs, now, held)


def release(session: Session, seqs: Sequence[int], now: Now) -> list[Job]:
    """Let held jobs run when their time comes and the jobs they depend on have ended."""

    def released(each: Standing) -> Standing:
        if each.state is not S.HELD:
            raise refuse_state(each, "only a held job can be released.")
        state = S.BLOCKED if is_waiting(session, each.seq) else S.PENDING
        return placed(session, each._replace(state=state), now)

    return _change_all(session, seqs, now, released)


def retry(
    session: Session,
    seqs: Sequence[int],
    now: Now,
    only: frozenset[JobState] = ENDED_STATES,
    delay_ms: Callable[[int], int] | None = None,
) -> list[Job]:
    """Let ended jobs run again from 0 attempts, their history kept; a failed one runs now instead of later.

    `delay_ms` tells how long the job of each index is to wait; None: none waits.
    """
    delays = {} if delay_ms is None else {seq: delay_ms(index) for index, seq in enumerate(dict.fromkeys(seqs))}

    def retried(each: Standing) -> Standing:
        if each.state is S.FAILED and only is ENDED_STATES:
            return placed(session, each._replace(state=S.PENDING, due_ms=None, run_at_ms=None), now)
        if each.state not in only:
            wanted = "dead" if only == {S.DEAD} else "failed, dead, completed or cancelled"
            raise refuse_state(each, f"only a job that is {wanted} can be retried.")
        if each.ending is not None:
            raise refuse_state(each, f"its processes are still being ended by worker w{each.ending}.")
        _refuse_second_holder(session, each)
        delay = delays.get(each.seq, 0)
        return placed(session, each._replace(
            state=S.PENDING, attempts=0, crashes=0, due_ms=now.store_ms + delay if delay else None,
            run_at_ms=now.wall_ms + delay if delay else None, started_ms=None, finished_ms=None,
            exit_code=None, signal=None, reason=None,
        ), now)  # fmt: skip

    return _change_all(session, seqs, now, retried)


def _change_all(session: Session, seqs: Sequence[int], now: Now, change: Callable[[Standing], Standing]) -> list[Job]:
    unique = list(dict.fromkeys(seqs))
    for seq in unique:
        before = needed(session, seq)
        after = change(before)
        if after != before:
            move(session, before, after, now)
    return [job(session, seq) for seq in unique]


_KEY_HOLDER: Final = statement(
    _Job.select(_Job.seq, _Job.id).where((_Job.unique_key == arg("key")) & SQL(models.HOLDS_KEY))
)


def _refuse_second_holder(session: Session, each: Standing) -> None:
    """The key was free while the job had ended; another may have taken it."""
    if each.unique_key is None:
        return
    row = session.execute(_KEY_HOLDER, {"key": each.unique_key}).fetchone()
    if row is not None:
        message = f"The unique key {each.unique_key!r} of job {each.id} is now held by job {row[1]}."
        raise Refused(ErrorCode.CONFLICT, message, {"id": row[1], "seq": row[0]})


def set_paused(session: Session, seq: int, run: int, paused: bool, now: Now) -> bool:
    """Note that the run is stopped, or goes on. False: it has ended, or it was so already."""
    values = {"seq": seq, "run": run, "paused": int(paused), "now": now.wall_ms, "state": S.PROCESSING.value}
    if not session.execute(_PAUSE, values).rowcount:
        return False
    each = needed(session, seq)
    kind = EventKind.JOB_PAUSED if paused else EventKind.JOB_RESUMED
    queue = session.memory.queue_names[each.queue]
    session.tell(kind, now, job_id=each.id, seq=seq, queue=queue, run=run, worker=each.worker)
    return True
