"""Dependencies: what the end of a parent means for its children.

Resolved in slices, so that a parent with a hundred thousand children does not delay other requests.
"""

import json
from collections.abc import Container, Iterable, Mapping
from typing import Final, NamedTuple

from queuectl_client.protocol.dependencies import BATCH_PREFIX
from queuectl_client.protocol.selectors import number
from queuectl_client.protocol.vocabulary import ENDED_STATES, ErrorCode, JobState, ReasonCode
from queuectld.domain.errors import Refused
from queuectld.domain.job import Now
from queuectld.domain.reason import Reason
from queuectld.store.mapping.models import Dependency, Forward, Job, Resolving
from queuectld.store.mapping.sql import AMONG_SEQS
from queuectld.store.mapping.statement import arg, insert_row, statement
from queuectld.store.reads.dependency_selectors import all_matches
from queuectld.store.records import ResolvedSelectors
from queuectld.store.writer.session import Session
from queuectld.store.writes import batches
from queuectld.store.writes.dependents import is_waiting
from queuectld.store.writes.transitions import MAY_DEPEND, JobSnapshot, any_snapshot, assign_lane, transition

SLICE: Final = 500
"""Children resolved in one commit."""
STEP: Final = 50
"""Children resolved before it is asked whether other requests wait."""
INSERT_DEPENDENCY: Final = insert_row(Dependency)
_STATE_BY_ID: Final = statement(Job.select(Job.seq, Job.id, Job.state, Job.upload).where(Job.id == arg("id")))
_STATE_BY_SEQ: Final = statement(Job.select(Job.seq, Job.id, Job.state, Job.upload).where(Job.seq == arg("seq")))
_STATES_BY_SEQ: Final = statement(Job.select(Job.seq, Job.id, Job.state).where(AMONG_SEQS).order_by(Job.seq))
_ENDED: Final = frozenset(map(str, ENDED_STATES))
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
_PARENTS: Final = statement(Dependency.select(Dependency.parent).where(Dependency.child == arg("child")))
INSERT_FORWARD: Final = insert_row(Forward)
_WHO_NAMED: Final = statement(
    Forward.select(Forward.child, Forward.on).where(
        (Forward.upload == arg("upload")) & (Forward.parent_id == arg("id"))
    )
)  # fmt: skip
_FORGET_FORWARD: Final = statement(
    Forward.delete().where((Forward.upload == arg("upload")) & (Forward.parent_id == arg("id")))
)
_FIRST_FORWARD: Final = statement(
    Forward.select(Forward.parent_id, Forward.child).where(Forward.upload == arg("upload")).limit(arg("one"))
)
FORGET_FORWARDS: Final = statement(Forward.delete().where(Forward.upload == arg("upload")))
FEW_DEPENDENTS: Final = 100
"""Up to so many jobs that wait for a batch are walked when a job is added to it."""
MAX_VISITED: Final = 20_000
"""Maximum number of jobs visited by the cycle check of one request; about 0.1 s."""


class Parents:
    """The parents of a new job: those it has to wait for, or why it can never run.

    `later` are ids not in use yet that a job of the same upload may still have. `resolved` has the jobs that selectors
    matched earlier; only jobs with a number below `before` count for them, not those of the same request.
    """

    def __init__(
        self, session: Session, depends_on: Iterable[tuple[str, str]], upload: int | None = None,
        expected: Container[str] = (), resolved: ResolvedSelectors | None = None, before: int | None = None,
    ) -> None:  # fmt: skip
        self.waits_for: dict[int, str] = {}
        self.later: dict[str, str] = {}
        self.named: tuple[tuple[str, str], ...] = ()
        self.unsatisfiable: Reason | None = None
        for reference, on in depends_on:
            found = _look_up(session, reference, upload)
            if found is None and resolved and reference in resolved:
                end = session.cache.last_seq + 1 if before is None else before
                self._add_all(
                    session, reference, on, all_matches(session.connection, reference, resolved[reference], end)
                )
                continue
            if found is None and (upload is not None or reference in expected):
                self.named += ((reference, on),)
                self.later[reference] = on
                continue
            if found is None:
                what = "batch" if reference.startswith(BATCH_PREFIX) else "job"
                name = reference.removeprefix(BATCH_PREFIX)
                raise Refused(ErrorCode.NOT_FOUND, f"depends_on: no such {what}: {name!r}", {"id": reference})
            self.named += ((found.name, on),)
            self._add(found, on)

    def _add_all(self, session: Session, selector: str, on: str, seqs: Iterable[int]) -> None:
        # One query for all: there may be thousands. Jobs removed since are left out.
        found = states_of(session, seqs)
        if not found:
            # A selector that matches nothing is more likely a mistake than a request to run at once.
            raise Refused(ErrorCode.NOT_FOUND, f"depends_on: no job matches {selector!r}", {"id": selector})
        self.named += tuple((name, on) for _, name, _ in found)
        for seq, name, state in found:
            if state in _ENDED:
                self._add(_Parent(seq, name, JobState(state)), on)
            else:
                self.waits_for[seq] = on

    def _add(self, parent: "_Parent", on: str) -> None:
        if parent.state is None:
            self.waits_for[parent.number] = on
        elif not _is_satisfied(on, parent.state):
            self.unsatisfiable = dependency_reason(parent.name, parent.state, on)


def is_id(session: Session, reference: str) -> bool:
    """Whether a visible job has exactly this id, even if it looks like a selector."""
    row = session.execute(_STATE_BY_ID, {"id": reference}).fetchone()
    return row is not None and row[3] not in session.cache.hidden_uploads


def states_of(session: Session, seqs: Iterable[int]) -> list[tuple[int, str, str]]:
    """Return number, id and state of the jobs that exist, ordered by number."""
    return session.execute(_STATES_BY_SEQ, {"seqs": json.dumps(list(seqs))}).fetchall()


class _Parent(NamedTuple):
    """A job, or a batch (negative number). `state` is how it has ended; None: it has not."""

    number: int
    name: str
    state: JobState | None


def _look_up(session: Session, reference: str, upload: int | None) -> _Parent | None:
    """Find a parent by exact id, else by number, visible or of the same upload; or a batch by `batch:NAME`."""
    if reference.startswith(BATCH_PREFIX):
        batch = batches.find(session, reference.removeprefix(BATCH_PREFIX))
        return None if batch is None else _Parent(-batch.id, reference, batch.state)
    row = session.execute(_STATE_BY_ID, {"id": reference}).fetchone()
    if row is None and (seq := number(reference)) is not None:
        row = session.execute(_STATE_BY_SEQ, {"seq": seq}).fetchone()
    if row is None or (row[3] in session.cache.hidden_uploads and row[3] != upload):
        return None
    return _parent(row)


def _parent(row: tuple[int, str, str, int | None]) -> _Parent:
    state = JobState(row[2])
    return _Parent(row[0], row[1], state if state in ENDED_STATES else None)


def waits_for(session: Session, parents: Iterable[int], goal: int, cleared: set[int]) -> bool:
    """Whether one of these jobs is the goal, or waits for it, directly or by way of others.

    `cleared` collects jobs known not to. Refused (too_large) after MAX_VISITED jobs.
    """
    ahead = list(parents)
    while ahead:
        each = ahead.pop()
        if each == goal:
            return True
        if each in cleared:
            continue
        cleared.add(each)
        if len(cleared) > MAX_VISITED:
            message = "too many jobs depend on one another; add each after those that it depends on"
            raise Refused(ErrorCode.TOO_LARGE, message)
        ahead.extend(row[0] for row in session.execute(_PARENTS, {"child": each}))
    return False


def waits_for_batch(session: Session, parents: Mapping[int, str], batch: int, cleared: set[int]) -> bool:
    """Whether one of these jobs waits for the batch, directly or by way of others. `cleared`: see `waits_for`.

    Few jobs wait for most batches, if any: they are walked rather than the ancestors of each job that is added.
    """
    dependents = _dependents_of(session, -batch)
    if dependents is None:
        return waits_for(session, parents, -batch, cleared)
    return not dependents.isdisjoint(parents)


def _dependents_of(session: Session, parent: int) -> set[int] | None:
    """Return this parent and all that waits for it; None if that is more than FEW_DEPENDENTS."""
    found, ahead = {parent}, [parent]
    while ahead:
        values = {"parent": ahead.pop(), "slice": FEW_DEPENDENTS}
        new = {child for child, _ in session.execute(_CHILDREN, values)} - found
        found |= new
        ahead += new
        if len(found) > FEW_DEPENDENTS:
            return None
    return found


def id_of(session: Session, seq: int) -> str:
    """Return the id of an existing job, visible or not."""
    return str(session.execute(_STATE_BY_SEQ, {"seq": seq}).fetchone()[1])


def take_forward(session: Session, upload: int, id: str) -> list[tuple[int, str]]:
    """Remove and return the forward references of an open upload to this id."""
    found = session.execute(_WHO_NAMED, {"upload": upload, "id": id}).fetchall()
    if found:
        session.execute(_FORGET_FORWARD, {"upload": upload, "id": id})
    return [(child, on) for child, on in found]


def refuse_missing(session: Session, upload: int) -> None:
    """Raise Refused (not_found) if a job of the upload depends on one that was not added."""
    row = session.execute(_FIRST_FORWARD, {"upload": upload, "one": 1}).fetchone()
    if row is not None:
        child = any_snapshot(session, row[1])
        name = child.id if child is not None else row[1]
        message = f"depends_on of {name}: no such job: {row[0]!r}"
        raise Refused(ErrorCode.NOT_FOUND, message, {"id": row[0], "seq": row[1]})


def _is_satisfied(on: str, state: JobState) -> bool:
    """Whether the end of a parent satisfies the condition. `dead` includes cancelled."""
    return on == "any" or (on == "completed") == (state is JobState.COMPLETED)


def dependency_reason(parent_id: str, state: JobState, on: str) -> Reason:
    """Build the reason for a job cancelled because of a parent."""
    code = ReasonCode.DEPENDENCY
    return Reason(code, f"{code} {parent_id} ended {state}, this job was to run only after {_WORDS[on]}")


_WORDS: Final = {"completed": "its success", "dead": "its failure", "any": "its end"}


def resolve(session: Session, now: Now, budget: int = SLICE) -> None:
    """Resolve up to `budget` children of ended parents. `session.cache.resolving` holds the parents that are left.

    While other requests wait, those after the first STEP are left for a later turn.
    """
    done = 0
    while budget > 0 and session.cache.resolving:
        step = min(budget, STEP)
        parent, parent_id, state = session.execute(_FIRST_RESOLVING, {"one": 1}).fetchone()
        children = session.execute(_CHILDREN, {"parent": parent, "slice": step}).fetchall()
        for child, on in children:
            session.execute(_FORGET_EDGE, {"parent": parent, "child": child})
            _notify_child(session, child, parent_id, JobState(state), on, now)
        if len(children) < step:
            session.execute(_FORGET_RESOLVING, {"parent": parent})
            session.cache.resolving.discard(parent)
            session.on_rollback(lambda seq=parent: session.cache.resolving.add(seq))  # type: ignore[misc]
        budget -= len(children)
        done += len(children)
        if done >= STEP and session.others_wait():
            break
    if session.cache.resolving:
        session.ready = True


def _notify_child(session: Session, seq: int, parent_id: str, state: JobState, on: str, now: Now) -> None:
    child = any_snapshot(session, seq)
    if child is None or child.state not in MAY_DEPEND:
        return
    child = cancel_unsatisfiable(session, child, parent_id, state, on, now)
    if child.upload is None:
        unblock(session, child, now)


def cancel_unsatisfiable(
    session: Session, child: JobSnapshot, parent_id: str, state: JobState, on: str, now: Now
) -> JobSnapshot:  # fmt: skip
    """Cancel a waiting job if this end of a parent does not satisfy its condition."""
    if _is_satisfied(on, state):
        return child
    cancelled = child._replace(state=JobState.CANCELLED, due_ms=None, finished_ms=now.wall_ms)
    return transition(session, child, cancelled.with_reason(dependency_reason(parent_id, state, on)), now)


def unblock(session: Session, child: JobSnapshot, now: Now) -> None:
    """Unblock a job without unresolved dependencies."""
    if child.state is JobState.BLOCKED and not is_waiting(session, child.seq):
        transition(session, child, assign_lane(session, child._replace(state=JobState.PENDING), now), now)
