"""What the end of a job means for those that waited for it.

In slices: a parent with a hundred thousand children keeps nobody else waiting.
"""

from typing import Final

from queuectl_client.protocol.vocabulary import ENDED_STATES, ErrorCode, JobState
from queuectld.domain.errors import Refused
from queuectld.domain.job import NewJob, Now
from queuectld.store.models import Dependency, Job, Resolving
from queuectld.store.moves import MAY_DEPEND, any_standing, move, placed
from queuectld.store.session import Session
from queuectld.store.statement import arg, insert_row, statement

SLICE: Final = 500
"""Children told in one commit."""
INSERT_DEPENDENCY: Final = insert_row(Dependency)
_STATE_BY_ID: Final = statement(Job.select(Job.seq, Job.id, Job.state, Job.batch).where(Job.id == arg("id")))
_STATE_BY_SEQ: Final = statement(Job.select(Job.seq, Job.id, Job.state, Job.batch).where(Job.seq == arg("seq")))
_FIRST_RESOLVING: Final = statement(
    Resolving.select(Resolving.parent, Resolving.parent_id, Resolving.state)
    .order_by(Resolving.parent)
    .limit(arg("one"))
)
_FORGET_RESOLVING: Final = statement(Resolving.delete().where(Resolving.parent == arg("parent")))
_CHILDREN: Final = statement(
    Dependency.select(Dependency.child, Dependency.on).where(Dependency.parent == arg("parent")).limit(arg("slice"))
)
_FORGET_EDGE: Final = statement(
    Dependency.delete().where((Dependency.parent == arg("parent")) & (Dependency.child == arg("child")))
)
_WAITS: Final = statement(
    Dependency.select(Dependency.parent).where(Dependency.child == arg("child")).limit(arg("one"))
)


class Parents:
    """What the parents of a new job leave it: those still to wait for, or why it can no longer run."""

    def __init__(self, session: Session, new: NewJob, batch: int | None) -> None:
        self.waits_for: dict[int, str] = {}
        self.named: tuple[tuple[str, str], ...] = ()
        self.hopeless: str | None = None
        for reference, on in new.depends_on:
            seq, parent_id, state = _look_up(session, reference, batch)
            self.named += ((parent_id, on),)
            if state not in ENDED_STATES:
                self.waits_for[seq] = on
            elif not _comes_true(on, state):
                self.hopeless = hopeless_reason(parent_id, state, on)


def _look_up(session: Session, reference: str, batch: int | None) -> tuple[int, str, JobState]:
    """An exact id, else a sequence number; visible, or of the same batch."""
    row = session.execute(_STATE_BY_ID, {"id": reference}).fetchone()
    if row is None and reference.isdecimal():
        row = session.execute(_STATE_BY_SEQ, {"seq": min(int(reference), 2**62)}).fetchone()
    if row is None or (row[3] in session.memory.hidden and row[3] != batch):
        raise Refused(ErrorCode.NOT_FOUND, f"There is no job {reference!r} to depend on.", {"id": reference})
    return row[0], row[1], JobState(row[2])


def _comes_true(on: str, state: JobState) -> bool:
    """Whether a parent that ended so is what the child waited for. `dead` holds for a cancelled one too."""
    return on == "any" or (on == "completed") == (state is JobState.COMPLETED)


def hopeless_reason(parent_id: str, state: JobState, on: str) -> str:
    """Why a job was cancelled because of another."""
    return f"dependency {parent_id} ended {state}, this job was to run only after {_WORDS[on]}"


_WORDS: Final = {"completed": "its success", "dead": "its failure", "any": "its end"}


def is_waiting(session: Session, child: int) -> bool:
    """Whether a job still waits for another."""
    return session.execute(_WAITS, {"child": child, "one": 1}).fetchone() is not None


def resolve(session: Session, now: Now, budget: int = SLICE) -> None:
    """Tell up to `budget` children of jobs that have ended. `session.memory.resolving` holds what is left."""
    while budget > 0 and session.memory.resolving:
        parent, parent_id, state = session.execute(_FIRST_RESOLVING, {"one": 1}).fetchone()
        children = session.execute(_CHILDREN, {"parent": parent, "slice": budget}).fetchall()
        for child, on in children:
            session.execute(_FORGET_EDGE, {"parent": parent, "child": child})
            _tell_child(session, child, parent_id, JobState(state), on, now)
        if len(children) < budget:
            session.execute(_FORGET_RESOLVING, {"parent": parent})
            session.memory.resolving.discard(parent)
            session.on_rewind(lambda seq=parent: session.memory.resolving.add(seq))  # type: ignore[misc]
        budget -= len(children)
    if session.memory.resolving:
        session.ready = True


def _tell_child(session: Session, seq: int, parent_id: str, state: JobState, on: str, now: Now) -> None:
    child = any_standing(session, seq)
    if child is None or child.state not in MAY_DEPEND:
        return
    if not _comes_true(on, state):
        reason = hopeless_reason(parent_id, state, on)
        move(session, child, child._replace(
            state=JobState.CANCELLED, due_ms=None, finished_ms=now.wall_ms, reason=reason,
        ), now)  # fmt: skip
    elif child.state is JobState.BLOCKED and not is_waiting(session, seq):
        move(session, child, placed(session, child._replace(state=JobState.PENDING), now), now)
