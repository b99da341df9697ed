"""What people do to jobs, by its verb: to all that were named or to none, or to those of many that it fits."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from queuectld.domain.errors import Refused
from queuectld.domain.job import Job, Now
from queuectld.domain.permits import Verb
from queuectld.store.records import Done, Named, Removed
from queuectld.store.writer.session import Session
from queuectld.store.writes import changes, removal
from queuectld.store.writes.changes import each_fit
from queuectld.store.writes.transitions import Standing, jobs

_CHANGES: Final[Mapping[Verb, Callable[..., list[Standing]]]] = {
    Verb.CANCEL: changes.cancel_each,
    Verb.HOLD: changes.hold,
    Verb.RELEASE: changes.release,
    Verb.RETRY: changes.retry,
    Verb.DLQ_RETRY: removal.retry_dead,
}
_REMOVALS: Final[Mapping[Verb, Callable[..., Removed]]] = {
    Verb.REMOVE: removal.remove,
    Verb.DLQ_PURGE: removal.purge_dead,
}


def act(
    session: Session, verb: Verb, seqs: Sequence[int], now: Now, *, picked: bool, brief: bool, how: Mapping[str, Any]
) -> Done:
    """Do it to each of the jobs; raises Refused when it cannot be done to one. `picked`: that one is left out then.

    `brief`: the jobs are not read, only named.
    """
    left: list[Refused] = []
    leaving = left if picked else None
    if verb in _REMOVALS:
        removed = _REMOVALS[verb](session, seqs, now, leaving, brief=brief, **how)
        return Done(removed.jobs, removed.names, left, [], removed.files)
    changed = _CHANGES[verb](session, seqs, now, left=leaving, **how)
    running = changes.cancelled(session, [before for before in changed if before.worker is not None])
    return Done(*_told(session, changed, brief), left, running, [])


def look(session: Session, verb: Verb, seqs: Sequence[int], *, picked: bool, brief: bool) -> Done:
    """As `act`, but nothing is done: the jobs that it would be done to."""
    left: list[Refused] = []
    fit = list(each_fit(session, verb, seqs, left if picked else None))
    return Done(*_told(session, fit, brief), left, [], [])


def _told(session: Session, standing: Sequence[Standing], brief: bool) -> tuple[list[Job], list[Named]]:
    names = [Named(each.id, each.seq) for each in standing]
    return [] if brief else jobs(session, [seq for _, seq in names]), names
