"""Processes that outlived their run: a job does not run again beside them, whoever asks for it.

They stand in one small value of the store, by the job's number; there are seldom any.
"""

from collections.abc import Mapping, Sequence
from functools import partial

from queuectld.domain.job import Now
from queuectld.domain.outcome import Survivor
from queuectld.store.writer.cache import SURVIVORS_KEY
from queuectld.store.writer.session import Session
from queuectld.store.writes.registry import set_value
from queuectld.store.writes.transitions import UNTIL_THEY_END, any_standing, let_in


def note(session: Session, seq: int, survivors: Sequence[Survivor]) -> None:
    """These of the job's last run live on. It is placed (`moves.placed`) after this."""
    _keep(session, {**session.memory.survivors, seq: tuple(survivors)})


def gone(session: Session, seq: int, now: Now) -> None:
    """They have ended: where the job waits for nothing else it may run."""
    _keep(session, {known: each for known, each in session.memory.survivors.items() if known != seq})
    before = any_standing(session, seq)
    if before is not None and before.due_ms == UNTIL_THEY_END:
        let_in(session, [before._replace(due_ms=None)], now)


def _keep(session: Session, survivors: Mapping[int, tuple[Survivor, ...]]) -> None:
    session.on_rewind(partial(setattr, session.memory, "survivors", session.memory.survivors))
    session.memory.survivors = survivors
    set_value(session, SURVIVORS_KEY, survivors)
