"""Runs ended jobs again, edited before that where changes are given."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from queuectl_client.protocol.permits import JobAction
from queuectld.domain.job import Now
from queuectld.store.writer.session import NOTHING, Session
from queuectld.store.writes.changes import Refusals, each_permitted, require_snapshot, retry_each
from queuectld.store.writes.edits import edit
from queuectld.store.writes.transitions import JobSnapshot


def retry(
    session: Session, seqs: Sequence[int], now: Now, refusals: Refusals = None, *, changes: Mapping[str, Any] = NOTHING
) -> list[JobSnapshot]:  # fmt: skip
    """Run ended jobs again from 0 attempts, keeping their history; a failed job runs without its backoff."""
    fit = each_permitted(session, JobAction.RETRY, seqs, refusals)
    return retry_each(session, _edited(session, fit, changes, now), now)


def retry_dead(
    session: Session,
    seqs: Sequence[int],
    now: Now,
    refusals: Refusals = None,
    *,
    changes: Mapping[str, Any] = NOTHING,
    delay_ms: Callable[[int], int] | None = None,
) -> list[JobSnapshot]:
    """Run dead jobs again, each after the delay for its index."""
    fit = each_permitted(session, JobAction.DLQ_RETRY, seqs, refusals)
    return retry_each(session, _edited(session, fit, changes, now), now, delay_ms)


def _edited(
    session: Session, fit: Iterator[JobSnapshot], changes: Mapping[str, Any], now: Now
) -> Iterator[JobSnapshot]:  # fmt: skip
    """Edit each job as `edit` does; the snapshots from after that."""
    if not changes:
        return fit
    return (_edit(session, each, changes, now) for each in fit)


def _edit(session: Session, job: JobSnapshot, changes: Mapping[str, Any], now: Now) -> JobSnapshot:
    edit(session, job.seq, changes, None, now)
    return require_snapshot(session, job.seq)
