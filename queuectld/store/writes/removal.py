"""Removing jobs: by users, by retention, and from the DLQ."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from queuectl_client.protocol.permits import JobAction
from queuectl_client.protocol.vocabulary import ENDED_STATES, EventKind, JobState
from queuectld.domain.job import Job, Now
from queuectld.store.mapping import models
from queuectld.store.mapping.models import Attempt
from queuectld.store.mapping.rows import read_output
from queuectld.store.mapping.statement import statement
from queuectld.store.records import JobName, Pruned, Removed
from queuectld.store.writer.session import Session
from queuectld.store.writes.changes import Refusals, each_permitted
from queuectld.store.writes.concurrency_keys import deferred_admission
from queuectld.store.writes.dependencies import resolve
from queuectld.store.writes.dependents import count_waiting, forget_parents_of, note_ends
from queuectld.store.writes.registry import note_last_seq
from queuectld.store.writes.transitions import MAY_DEPEND, OF_THESE, JobSnapshot, delete_job, job, jobs, snapshots

_OUTPUTS: Final = statement(Attempt.select(Attempt.output).where(OF_THESE & Attempt.output.is_null(False)))
_DELETE_ATTEMPTS: Final = statement(Attempt.delete().where(OF_THESE))
_DELETE_JOBS: Final = statement(models.Job.delete().where(OF_THESE).returning(models.Job.environment))


def remove(
    session: Session, seqs: Sequence[int], now: Now, refusals: Refusals = None, *, brief: bool = False
) -> Removed:  # fmt: skip
    """Delete ended or waiting jobs with their attempts. Numbers are never reused. `brief`: return only names."""
    return _delete(session, each_permitted(session, JobAction.REMOVE, seqs, refusals), now, brief)


def _delete(session: Session, fit: Iterator[JobSnapshot], now: Now, brief: bool) -> Removed:
    note_last_seq(session)
    order, plain = list[JobSnapshot](), list[JobSnapshot]()
    removed, files = dict[int, Job](), list[str]()
    with deferred_admission(session):
        for each in fit:
            order.append(each)
            _record_removal(session, each, now)
            if _is_plain(each):
                plain.append(each)
                continue
            if not brief:
                removed[each.seq] = job(session, each.seq)
            files += _delete_one(session, each)
    if not brief:
        removed.update((gone.seq, gone) for gone in jobs(session, [each.seq for each in plain]))
    files += _delete_plain(session, plain)
    dependents = count_waiting(session, [each.seq for each in order if each.state not in ENDED_STATES])
    resolve(session, now)
    names = [JobName(each.id, each.seq) for each in order]
    return Removed([] if brief else [removed[each.seq] for each in order], names, files, dependents)


def _is_plain(each: JobSnapshot) -> bool:
    """Whether the removal of the job affects only its own rows and counts."""
    return each.key is None and each.batch_id is None


def _delete_plain(session: Session, plain: Sequence[JobSnapshot]) -> list[str]:
    """Delete jobs like `delete_job`, with a fixed number of statements. Return their output files."""
    seqs = [each.seq for each in plain]
    files = _files_of(session, seqs)
    session.execute(_DELETE_ATTEMPTS, {"seqs": json.dumps(seqs)})
    for (environment,) in session.execute(_DELETE_JOBS, {"seqs": json.dumps(seqs)}).fetchall():
        session.use_environment(environment, -1)
    forget_parents_of(session, [each.seq for each in plain if each.state in MAY_DEPEND])
    note_ends(session, {
        each.seq: (each.id, each.state if each.state in ENDED_STATES else JobState.CANCELLED) for each in plain
    })  # fmt: skip
    counts = Counter((each.upload, each.queue, each.state, each.lane is not None) for each in plain)
    for (upload, queue, state, ready), n in counts.items():
        session.count(upload, queue, state, ready, -n)
    lanes: dict[int, list[int]] = {}
    for each in plain:
        if each.lane is not None:
            lanes.setdefault(each.lane, []).append(each.seq)
        if each.due_ms is not None or each.run_at_ms is not None:
            session.due_changed = True
    for lane, left in lanes.items():
        session.leave_lane(lane, *left)
    return files


def _files_of(session: Session, seqs: Sequence[int]) -> list[str]:
    packed = [row[0] for row in session.execute(_OUTPUTS, {"seqs": json.dumps(seqs)})]
    return [path for each in packed for output in read_output(each).values() for path, _, _ in output.files]


def _delete_one(session: Session, each: JobSnapshot) -> list[str]:
    files = _files_of(session, [each.seq])
    session.execute(_DELETE_ATTEMPTS, {"seqs": json.dumps([each.seq])})
    delete_job(session, each)
    return files


def _record_removal(session: Session, each: JobSnapshot, now: Now) -> None:
    queue = session.cache.queue_names[each.queue]
    session.record_event(EventKind.JOB_REMOVED, now, job_id=each.id, seq=each.seq, queue=queue)


def prune(session: Session, seqs: Sequence[int], before: Mapping[JobState, int], now: Now) -> Pruned:
    """Delete jobs that ended in one of these states before its wall time. Records one event for all."""
    note_last_seq(session)
    pruned, files, plain = list[int](), list[str](), list[JobSnapshot]()
    # Removing ended jobs does not change others, so all can be read first.
    there = snapshots(session, seqs)
    for seq in dict.fromkeys(seqs):
        each = there.get(seq)
        # It may have been retried or removed since it was listed.
        if each is None or each.ending is not None or each.state not in before:
            continue
        if each.finished_ms is None or each.finished_ms > before[each.state]:
            continue
        pruned.append(seq)
        if _is_plain(each):
            plain.append(each)
            continue
        files += _delete_one(session, each)
    files += _delete_plain(session, plain)
    if pruned:
        detail = {"first_seq": pruned[0], "last_seq": pruned[-1], "count": len(pruned)}
        session.record_event(EventKind.JOBS_REMOVED, now, detail=detail)
    resolve(session, now)
    return Pruned(len(pruned), files)


def purge_dead(
    session: Session, seqs: Sequence[int], now: Now, refusals: Refusals = None, *, brief: bool = False
) -> Removed:  # fmt: skip
    """Delete dead jobs."""
    return _delete(session, each_permitted(session, JobAction.DLQ_PURGE, seqs, refusals), now, brief)
