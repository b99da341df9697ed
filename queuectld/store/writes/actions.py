"""What people do to jobs, by its verb: to all that were named or to none, or to those of many that it fits."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from queuectld.domain.errors import Refused
from queuectld.domain.job import Job, Now
from queuectld.domain.permits import JobAction
from queuectld.store.records import ActionResult, JobName, Removed
from queuectld.store.writer.session import Session
from queuectld.store.writes import changes, removal
from queuectld.store.writes.changes import each_permitted
from queuectld.store.writes.transitions import JobSnapshot, jobs

_CHANGES: Final[Mapping[JobAction, Callable[..., list[JobSnapshot]]]] = {
    JobAction.CANCEL: changes.cancel_each,
    JobAction.HOLD: changes.hold,
    JobAction.RELEASE: changes.release,
    JobAction.RETRY: changes.retry,
    JobAction.DLQ_RETRY: removal.retry_dead,
}
_REMOVALS: Final[Mapping[JobAction, Callable[..., Removed]]] = {
    JobAction.REMOVE: removal.remove,
    JobAction.DLQ_PURGE: removal.purge_dead,
}


def apply(
    session: Session,
    action: JobAction,
    seqs: Sequence[int],
    now: Now,
    *,
    picked: bool,
    brief: bool,
    how: Mapping[str, Any],
) -> ActionResult:
    """Do it to each of the jobs; raises Refused when it cannot be done to one. `picked`: that one is left out then.

    `brief`: the jobs are not read, only named.
    """
    refusals: list[Refused] = []
    leaving = refusals if picked else None
    if action in _REMOVALS:
        removed = _REMOVALS[action](session, seqs, now, leaving, brief=brief, **how)
        return ActionResult(removed.jobs, removed.names, refusals, [], removed.files)
    changed = _CHANGES[action](session, seqs, now, refusals=leaving, **how)
    running = changes.cancelled(session, [before for before in changed if before.worker is not None])
    return ActionResult(*_described(session, changed, brief), refusals, running, [])


def preview(session: Session, action: JobAction, seqs: Sequence[int], *, picked: bool, brief: bool) -> ActionResult:
    """As `act`, but nothing is done: the jobs that it would be done to."""
    refusals: list[Refused] = []
    fit = list(each_permitted(session, action, seqs, refusals if picked else None))
    return ActionResult(*_described(session, fit, brief), refusals, [], [])


def _described(session: Session, snapshot: Sequence[JobSnapshot], brief: bool) -> tuple[list[Job], list[JobName]]:
    names = [JobName(each.id, each.seq) for each in snapshot]
    return [] if brief else jobs(session, [seq for _, seq in names]), names
