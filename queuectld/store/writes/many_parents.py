"""A job with very many parents is added in slices, as an upload of its own.

It is hidden until its last parent is stored: nothing starts it before, and if the daemon dies in between, the next one
discards it. A parent that ends meanwhile may cancel the job, but does not unblock it early.
"""

import json
from collections.abc import Sequence
from typing import Final

from peewee import SQL

from queuectl_client.protocol.vocabulary import ENDED_STATES, ErrorCode, JobState
from queuectld.domain.errors import Refused
from queuectld.domain.job import NewJob, Now
from queuectld.store.mapping import models
from queuectld.store.mapping.models import Dependency
from queuectld.store.mapping.statement import arg, statement
from queuectld.store.reads.dependency_selectors import all_matches
from queuectld.store.records import AddedOne, ResolvedSelector
from queuectld.store.writer.session import Session
from queuectld.store.writes import adding, idempotency, uploads
from queuectld.store.writes.dependencies import cancel_unsatisfiable, is_id, states_of
from queuectld.store.writes.transitions import MAY_DEPEND, any_snapshot, assign_lane, job, transition

AT_ONCE: Final = 1_000
"""Parents stored in one commit; about 10 ms."""
_Job: Final = models.Job
_NAMED: Final = statement(_Job.select(_Job.depends_on).where(_Job.seq == arg("seq")))
_NAME: Final = statement(_Job.update(depends_on=arg("named")).where(_Job.seq == arg("seq")))
_WAIT_FOR: Final = statement(
    Dependency.insert_from(
        _Job.select(_Job.seq, arg("child"), arg("until"))
        .where(SQL("seq IN (SELECT value FROM json_each(:parents))")),
        [Dependency.parent, Dependency.child, Dependency.on],
    ).on_conflict("REPLACE")
)  # fmt: skip


def begin(
    session: Session, token: str, new: NewJob, many: frozenset[str], now: Now
) -> tuple[int, list[tuple[str, str]]]:  # fmt: skip
    """Store the hidden job with the parents it names singly. Return its number and the selectors that are left.

    `many` are selectors that match very many jobs; one that is the id of a job does not count.
    """
    uploads.open_upload(session, token, now)
    left = [(name, on) for name, on in new.depends_on if name in many and not is_id(session, name)]
    new = new._replace(depends_on=tuple(pair for pair in new.depends_on if pair not in left))
    try:
        seq: int = uploads.add_to_upload(session, token, [new], now).seqs[0]
        uploads.refuse_missing_of(session, token)
    except Refused as refused:
        # Remove what belongs to a request for many jobs.
        data = {key: value for key, value in (refused.data or {}).items() if key not in ("index", "seq")}
        message = refused.message.removeprefix("job 1: ")
        if refused.code is ErrorCode.NOT_FOUND and "id" in data:
            message = f"depends_on: no such job: {data['id']!r}"
        raise Refused(refused.code, message, data) from None
    return seq, left


def matching_parents(session: Session, selector: str, resolved: ResolvedSelector, child: int) -> list[int]:
    """Return the jobs that a selector matches: those resolved before, and those added since, before the child."""
    return all_matches(session.connection, selector, resolved, child)


def wait_for(session: Session, child: int, parents: Sequence[int], on: str, now: Now) -> list[str]:
    """Add parents to the hidden job. Return the ids of those that still exist."""
    found = states_of(session, parents)
    snapshot = any_snapshot(session, child)
    assert snapshot is not None
    for _, name, state in found:
        if state in ENDED_STATES and snapshot.state is not JobState.CANCELLED:
            snapshot = cancel_unsatisfiable(session, snapshot, name, JobState(state), on, now)
    waits = [seq for seq, _, state in found if state not in ENDED_STATES]
    if waits and (snapshot.state is JobState.PENDING or snapshot.state in MAY_DEPEND):
        if snapshot.state is JobState.PENDING:
            transition(session, snapshot, assign_lane(session, snapshot._replace(state=JobState.BLOCKED), now), now)
        session.execute(_WAIT_FOR, {"child": child, "until": on, "parents": json.dumps(waits)})
    return [name for _, name, _ in found]


def commit(
    session: Session, token: str, new: NewJob, child: int, named: Sequence[tuple[str, str]], now: Now,
    request: str | None,
) -> AddedOne:  # fmt: skip
    """Make the job visible, or return the one that this request has stored meanwhile."""
    known = idempotency.known_one(session, request, new, now)
    if known is not None:
        return known
    few = json.loads(session.execute(_NAMED, {"seq": child}).fetchone()[0] or "[]")
    session.execute(_NAME, {"seq": child, "named": json.dumps([*few, *named], separators=(",", ":"))})
    uploads.commit_upload(session, token, now, announce=False)
    added = job(session, child)
    adding.record_added(session, added, now)
    idempotency.save_one(session, request, AddedOne(added), now)
    return AddedOne(added)
