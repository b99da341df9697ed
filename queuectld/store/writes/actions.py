"""Dispatch of job actions: applied to all jobs or to none, or to those that permit the action."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from queuectl_client.protocol.permits import JobAction
from queuectl_client.protocol.vocabulary import ENDED_STATES
from queuectld.domain.errors import Refused
from queuectld.domain.job import Job, Now
from queuectld.store.records import ActionResult, Dependents, JobName, Removed
from queuectld.store.writer.session import Session
from queuectld.store.writes import changes, removal, retries
from queuectld.store.writes.changes import each_permitted
from queuectld.store.writes.dependents import count_waiting
from queuectld.store.writes.transitions import JobSnapshot, jobs

_CHANGES: Final[Mapping[JobAction, Callable[..., list[JobSnapshot]]]] = {
    JobAction.CANCEL: changes.cancel_each,
    JobAction.HOLD: changes.hold,
    JobAction.RELEASE: changes.release,
    JobAction.RETRY: retries.retry,
    JobAction.DLQ_RETRY: retries.retry_dead,
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
    """Apply an action to each of the jobs. Raises Refused if one does not permit it; with `picked` it is skipped.

    `brief`: the result has the names of the jobs only.
    """
    refusals: list[Refused] = []
    leaving = refusals if picked else None
    if action in _REMOVALS:
        removed = _REMOVALS[action](session, seqs, now, leaving, brief=brief, **how)
        return ActionResult(removed.jobs, removed.names, refusals, [], removed.files, removed.dependents)
    changed = _CHANGES[action](session, seqs, now, refusals=leaving, **how)
    running = changes.cancelled(session, [before for before in changed if before.worker is not None])
    return ActionResult(*_described(session, changed, brief), refusals, running, [])


def preview(session: Session, action: JobAction, seqs: Sequence[int], *, picked: bool, brief: bool) -> ActionResult:
    """Like `apply`, but change nothing: return the jobs that would be changed."""
    refusals: list[Refused] = []
    fit = list(each_permitted(session, action, seqs, refusals if picked else None))
    dependents = Dependents()
    if action in _REMOVALS:
        waited_for = [each.seq for each in fit if each.state not in ENDED_STATES]
        dependents = count_waiting(session, waited_for, besides=[each.seq for each in fit])
    return ActionResult(*_described(session, fit, brief), refusals, [], [], dependents)


def _described(session: Session, snapshot: Sequence[JobSnapshot], brief: bool) -> tuple[list[Job], list[JobName]]:
    names = [JobName(each.id, each.seq) for each in snapshot]
    return [] if brief else jobs(session, [seq for _, seq in names]), names
