"""How jobs leave the store for good, and how the DLQ is emptied."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from queuectl_client.protocol.vocabulary import EventKind, JobState
from queuectld.domain.job import Job, Now
from queuectld.domain.permits import Verb
from queuectld.store.changes import Left, each_fit, needed, retry_each
from queuectld.store.dependencies import resolve
from queuectld.store.edits import edit
from queuectld.store.keys import let_in_at_the_end
from queuectld.store.models import Attempt
from queuectld.store.moves import Standing, drop, job, standing
from queuectld.store.records import Pruned, Removed
from queuectld.store.registry import note_last_seq
from queuectld.store.rows import read_output
from queuectld.store.session import NOTHING, Session
from queuectld.store.statement import arg, statement

_OUTPUTS: Final = statement(Attempt.select(Attempt.output).where(Attempt.seq == arg("seq")))
_DELETE_ATTEMPTS: Final = statement(Attempt.delete().where(Attempt.seq == arg("seq")))


def remove(session: Session, seqs: Sequence[int], now: Now, left: Left = None) -> Removed:
    """Delete ended or waiting jobs with their attempts. Their numbers stay used up."""
    return _delete(session, each_fit(session, Verb.REMOVE, seqs, left), now)


def _delete(session: Session, fit: Iterator[Standing], now: Now) -> Removed:
    note_last_seq(session)
    removed = Removed([], [])
    with let_in_at_the_end(session):
        for each in fit:
            removed.jobs.append(job(session, each.seq))
            removed.files.extend(_files_of(session, each.seq))
            _delete_one(session, each, now)
    resolve(session, now)
    return removed


def _files_of(session: Session, seq: int) -> list[str]:
    packed = [row[0] for row in session.execute(_OUTPUTS, {"seq": seq})]
    return [path for each in packed for output in read_output(each).values() for path, _, _ in output.files]


def _delete_rows(session: Session, each: Standing) -> None:
    session.execute(_DELETE_ATTEMPTS, {"seq": each.seq})
    drop(session, each)


def _delete_one(session: Session, each: Standing, now: Now) -> None:
    _delete_rows(session, each)
    queue = session.memory.queue_names[each.queue]
    session.tell(EventKind.JOB_REMOVED, now, job_id=each.id, seq=each.seq, queue=queue)


def prune(session: Session, seqs: Sequence[int], before: Mapping[JobState, int], now: Now) -> Pruned:
    """Delete those of the jobs that ended, in one of these states, before its wall time. One event for all of them."""
    note_last_seq(session)
    pruned, files = list[int](), list[str]()
    for seq in seqs:
        each = standing(session, seq)
        # It may have been retried since it was looked at, or removed.
        if each is None or each.ending is not None or each.state not in before:
            continue
        if each.finished_ms is None or each.finished_ms > before[each.state]:
            continue
        files.extend(_files_of(session, seq))
        _delete_rows(session, each)
        pruned.append(seq)
    if pruned:
        detail = {"first_seq": pruned[0], "last_seq": pruned[-1], "count": len(pruned)}
        session.tell(EventKind.JOBS_REMOVED, now, detail=detail)
    resolve(session, now)
    return Pruned(len(pruned), files)


def retry_dead(
    session: Session,
    seqs: Sequence[int],
    now: Now,
    left: Left = None,
    *,
    changes: Mapping[str, Any] = NOTHING,
    delay_ms: Callable[[int], int] | None = None,
) -> list[Job]:
    """Let dead jobs run again, changed as `edit` does it, each after the delay for its index."""

    def edited(each: Standing) -> Standing:
        edit(session, each.seq, changes, None, now)
        return needed(session, each.seq)

    fit = each_fit(session, Verb.DLQ_RETRY, seqs, left)
    return retry_each(session, map(edited, fit) if changes else fit, now, delay_ms)


def purge_dead(session: Session, seqs: Sequence[int], now: Now, left: Left = None) -> Removed:
    """Delete dead jobs."""
    return _delete(session, each_fit(session, Verb.DLQ_PURGE, seqs, left), now)
