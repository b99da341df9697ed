"""What people do to jobs, by its verb: to all that were named or to none, or to those of many that it fits."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from queuectld.domain.errors import Refused
from queuectld.domain.job import Job, Now
from queuectld.domain.permits import Verb
from queuectld.store.records import Cancelled, Removed
from queuectld.store.writer.session import Session
from queuectld.store.writes import changes, removal
from queuectld.store.writes.changes import each_fit
from queuectld.store.writes.transitions import job


class Done(NamedTuple):
    """The jobs it was done to, as they are now, and why it was not done to others.

    `running`: those cancelled that a worker has still to end. `files`: output that is now nobody's.
    """

    jobs: list[Job]
    left: list[Refused]
    running: list[Cancelled]
    files: list[str]


_ACTS: Final[Mapping[Verb, Callable[..., list[Job] | list[Cancelled] | Removed]]] = {
    Verb.CANCEL: changes.cancel,
    Verb.HOLD: changes.hold,
    Verb.RELEASE: changes.release,
    Verb.RETRY: changes.retry,
    Verb.REMOVE: removal.remove,
    Verb.DLQ_RETRY: removal.retry_dead,
    Verb.DLQ_PURGE: removal.purge_dead,
}


def act(session: Session, verb: Verb, seqs: Sequence[int], now: Now, *, picked: bool, how: Mapping[str, Any]) -> Done:
    """Do it to each of the jobs; raises Refused when it cannot be done to one. `picked`: that one is left out then."""
    left: list[Refused] = []
    done = _ACTS[verb](session, seqs, now, left=left if picked else None, **how)
    if isinstance(done, Removed):
        return Done(done.jobs, left, [], done.files)
    running = [each for each in done if isinstance(each, Cancelled) and each.worker is not None]
    return Done([each.job if isinstance(each, Cancelled) else each for each in done], left, running, [])


def look(session: Session, verb: Verb, seqs: Sequence[int], *, picked: bool) -> Done:
    """As `act`, but nothing is done: the jobs that it would be done to."""
    left: list[Refused] = []
    fit = each_fit(session, verb, seqs, left if picked else None)
    return Done([job(session, each.seq) for each in fit], left, [], [])
