"""Processes that survived their run: the job does not run again while they live, not even when retried.

Stored as one small value, by job number; there are seldom any.
"""

from collections.abc import Mapping, Sequence
from functools import partial

from queuectld.domain.job import Now
from queuectld.domain.outcome import Survivor
from queuectld.store.writer.cache import SURVIVORS_KEY
from queuectld.store.writer.session import Session
from queuectld.store.writes.registry import set_value
from queuectld.store.writes.transitions import UNTIL_THEY_END, admit_waiting, any_snapshot


def replace(session: Session, seq: int, survivors: Sequence[Survivor]) -> None:
    """Store the surviving processes of the job's last run. `transitions.assign_lane` must follow."""
    _keep(session, {**session.cache.survivors, seq: tuple(survivors)})


def clear(session: Session, seq: int, now: Now) -> None:
    """Delete the survivors of a job, which have ended, and admit the job if it waited for them."""
    _keep(session, {known: each for known, each in session.cache.survivors.items() if known != seq})
    before = any_snapshot(session, seq)
    if before is not None and before.due_ms == UNTIL_THEY_END:
        admit_waiting(session, [before._replace(due_ms=None)], now)


def _keep(session: Session, survivors: Mapping[int, tuple[Survivor, ...]]) -> None:
    session.on_rollback(partial(setattr, session.cache, "survivors", session.cache.survivors))
    session.cache.survivors = survivors
    set_value(session, SURVIVORS_KEY, survivors)
