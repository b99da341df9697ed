"""How jobs leave the store for good, and how the DLQ is emptied."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from queuectl_client.protocol.vocabulary import EventKind, JobState
from queuectld.domain.job import Job, Now
from queuectld.store import models
from queuectld.store.changes import needed, refuse_state, retry
from queuectld.store.dependencies import resolve
from queuectld.store.models import Attempt
from queuectld.store.moves import Standing, drop, job
from queuectld.store.records import Removed
from queuectld.store.registry import note_last_seq
from queuectld.store.rows import read_output
from queuectld.store.session import Session
from queuectld.store.statement import arg, statement

_OUTPUTS: Final = statement(Attempt.select(Attempt.output).where(Attempt.seq == arg("seq")))
_DELETE_ATTEMPTS: Final = statement(Attempt.delete().where(Attempt.seq == arg("seq")))
_DELETE_JOB: Final = statement(models.Job.delete().where(models.Job.seq == arg("seq")))


def remove(session: Session, seqs: Sequence[int], now: Now) -> Removed:
    """Delete ended or waiting jobs with their attempts. Their numbers stay used up."""
    found = [needed(session, seq) for seq in dict.fromkeys(seqs)]
    for each in found:
        if each.state is JobState.PROCESSING:
            raise refuse_state(each, "cancel it before it is removed.")
        if each.ending is not None:
            raise refuse_state(each, f"its processes are still being ended by worker w{each.ending}.")
    return _delete(session, found, now)


def _delete(session: Session, found: Iterable[Standing], now: Now) -> Removed:
    note_last_seq(session)
    removed = Removed([], [])
    for each in found:
        removed.jobs.append(job(session, each.seq))
        for (packed,) in session.execute(_OUTPUTS, {"seq": each.seq}):
            removed.files.extend(path for output in read_output(packed).values() for path, _, _ in output.files)
        _delete_one(session, each, now)
    resolve(session, now)
    return removed


def _delete_one(session: Session, each: Standing, now: Now) -> None:
    session.execute(_DELETE_ATTEMPTS, {"seq": each.seq})
    session.execute(_DELETE_JOB, {"seq": each.seq})
    drop(session, each)
    queue = session.memory.queue_names[each.queue]
    session.tell(EventKind.JOB_REMOVED, now, job_id=each.id, seq=each.seq, queue=queue)


def retry_dead(
    session: Session, seqs: Sequence[int], now: Now, delay_ms: Callable[[int], int] | None = None
) -> list[Job]:
    """Let dead jobs run again, each after the delay for its index. Raises Refused when one is not dead."""
    return retry(session, seqs, now, frozenset({JobState.DEAD}), delay_ms)


def purge_dead(session: Session, seqs: Sequence[int], now: Now) -> Removed:
    """Delete dead jobs. Raises Refused when one is not dead."""
    found = [needed(session, seq) for seq in dict.fromkeys(seqs)]
    for each in found:
        if each.state is not JobState.DEAD:
            raise refuse_state(each, "only a dead job can be purged from the DLQ.")
    return _delete(session, found, now)
