"""Edits of jobs that do not run: attributes, dependencies, and position among the others (`queuectl move`)."""

from collections.abc import Mapping
from typing import Any, Final

from peewee import SQL

from queuectl_client.protocol import attributes
from queuectl_client.protocol.permits import JobAction
from queuectl_client.protocol.vocabulary import WAITING_STATES, ErrorCode, EventKind, JobState
from queuectld.domain.errors import Refused
from queuectld.domain.job import Job, NewJob, Now, Options
from queuectld.domain.retry import RetryPolicy
from queuectld.domain.states import CLAIMABLE
from queuectld.store.mapping import models
from queuectld.store.mapping.jobrows import OPTION_COLUMNS, NewRow, job_values
from queuectld.store.mapping.statement import arg, statement
from queuectld.store.reads import selectors
from queuectld.store.records import MoveTarget, ResolvedSelectors
from queuectld.store.writer.session import Session
from queuectld.store.writes import concurrency_keys
from queuectld.store.writes.changes import check_permitted, require_snapshot, wrong_state
from queuectld.store.writes.dependencies import INSERT_DEPENDENCY, Parents, waits_for
from queuectld.store.writes.dependents import forget_parents
from queuectld.store.writes.ranking import reposition
from queuectld.store.writes.transitions import JobSnapshot, assign_lane, job, transition

S = JobState
_Job: Final = models.Job
EDITABLE: Final = frozenset(
    "retry" if name in RetryPolicy._fields else attribute.field for name, attribute in attributes.EDITABLE.items()
)
"""Fields of a NewJob and its options that `edit` may change. `retry` may be a map of its fields."""
_FIXED: Final = (
    *(name for name in OPTION_COLUMNS if name in EDITABLE or name in RetryPolicy._fields),
    *("depends_on", "command", "argv"),
)
"""Columns that an edit writes besides those of the snapshot."""
_EDIT: Final = statement(
    _Job.update({getattr(_Job, name): arg(name) for name in (*_FIXED, "updated_ms")} | {_Job.in_line: SQL("0")}).where(
        _Job.seq == arg("seq")
    )
)
"""Clears `in_line`, because the key may have changed; `_settle` sets it again."""
_PLACE: Final = ("priority", "queue", "rank")
_SNAPSHOT_KEYS: Final = ("key", "key_limit", "slots")


def edit(
    session: Session,
    named: int | str,
    changes: Mapping[str, Any],
    rev: int | None,
    now: Now,
    resolved: ResolvedSelectors | None = None,
) -> Job:
    """Change a job that does not run. Changes of an ended job apply when it is retried.

    `changes` are fields of a NewJob, or of its options, by name; what is not named stays. `rev` is the `updated_ms`
    that the caller has read; None: whatever it is. `resolved` has the jobs that selectors among `depends_on` match.
    """
    seq = selectors.require(session.connection, named)
    before = require_snapshot(session, seq)
    stored = job(session, seq)
    if rev is not None and stored.updated_ms != rev:
        message = f"{before.id} was changed since it was read; read it again"
        raise Refused(ErrorCode.CONFLICT, message, {"id": before.id, "seq": seq})
    unknown = changes.keys() - EDITABLE
    if unknown:
        raise Refused(ErrorCode.INVALID_PARAMS, f"{min(unknown)!r} cannot be edited")
    if before.state is S.PROCESSING or before.ending is not None:
        raise wrong_state(before, "only a job that does not run can be edited")
    changes = dict(changes)
    after = _timed(before, changes, now)
    if isinstance(changes.get("retry"), Mapping):
        changes["retry"] = stored.options.retry._replace(**changes["retry"])
    if "depends_on" in changes:
        after = _rewired(session, after, changes, resolved)
    if "env" in changes:
        changes["env"] = _with_kept(changes["env"], stored)
    options = {name: value for name, value in changes.items() if name in Options._fields}
    others = {name: value for name, value in changes.items() if name not in Options._fields}
    kept = {name: getattr(stored, name) for name in ("command", "queue", "priority", "depends_on")}
    new = NewJob(options=stored.options._replace(**options), **{**kept, **others})
    values = _write_fixed(session, seq, new, now)
    after = after._replace(
        queue=session.queue_id(new.queue), priority=new.priority, needs=values["needs"],
        **{name: values[name] for name in _SNAPSHOT_KEYS},
    )  # fmt: skip
    _settle(session, before._replace(in_line=0), after, now)
    detail = {"changed": sorted(changes)}
    session.record_event(EventKind.JOB_EDITED, now, job_id=before.id, seq=seq, queue=new.queue, detail=detail)
    return job(session, seq)


def _with_kept(env: Mapping[str, str | bool], stored: Job) -> dict[str, str]:
    """Return the new variables; True stands for the stored value, which is never shown."""
    missing = [name for name, value in env.items() if value is True and name not in stored.options.env]
    if missing:
        message = f"env: {missing[0]!r} is not set, so it has no value to keep; give it one"
        raise Refused(ErrorCode.INVALID_PARAMS, message, {"key": "env"})
    return {name: stored.options.env[name] if isinstance(value, bool) else value for name, value in env.items()}


def move(session: Session, named: int | str, target: MoveTarget, now: Now) -> Job:
    """Change the position or the queue of a waiting job, or both."""
    seq = selectors.require(session.connection, named)
    before = require_snapshot(session, seq)
    check_permitted(session, JobAction.MOVE, before)
    other = (
        None
        if target.before is None
        else require_snapshot(session, selectors.require(session.connection, target.before))
    )
    if other is not None and other.state not in WAITING_STATES:
        raise wrong_state(other, "no job can be moved before it")
    after = reposition(session, before, target, other)
    _settle(session, before, after, now)
    queue = session.cache.queue_names[after.queue]
    detail = {"changed": [name for name in _PLACE if getattr(before, name) != getattr(after, name)]}
    session.record_event(EventKind.JOB_EDITED, now, job_id=before.id, seq=seq, queue=queue, detail=detail)
    return job(session, seq)


def _settle(session: Session, before: JobSnapshot, after: JobSnapshot, now: Now) -> None:
    """Write the transition that follows from the new values, and rebalance its concurrency key."""
    if after.state in CLAIMABLE:
        after = assign_lane(session, after, now)
    if after != before:
        transition(session, before, after, now)
    if after.key is not None:
        concurrency_keys.rebalance(session, after.key)


def _timed(before: JobSnapshot, changes: dict[str, Any], now: Now) -> JobSnapshot:
    """Replace the time to run, including a backoff."""
    if changes.keys().isdisjoint({"delay_ms", "run_at_ms"}):
        return before
    if before.state not in WAITING_STATES:
        raise wrong_state(before, "only a waiting job has a time to run")
    delay_ms, run_at_ms = changes.get("delay_ms") or 0, changes.get("run_at_ms")
    changes |= {"delay_ms": delay_ms, "run_at_ms": run_at_ms}
    before = before._replace(lane=None, in_line=0)
    if before.state is S.FAILED:
        before = before._replace(state=S.PENDING)
    if delay_ms:
        return before._replace(due_ms=now.store_ms + delay_ms, run_at_ms=now.wall_ms + delay_ms)
    return before._replace(due_ms=None, run_at_ms=run_at_ms)


def _rewired(
    session: Session, before: JobSnapshot, changes: dict[str, Any], resolved: ResolvedSelectors | None
) -> JobSnapshot:
    """Replace the dependencies of the job."""
    if before.state not in WAITING_STATES or before.state is S.FAILED:
        raise wrong_state(before, "it no longer waits for other jobs")
    parents = Parents(session, changes["depends_on"], resolved=resolved)
    if parents.unsatisfiable is not None:
        raise Refused(
            ErrorCode.WRONG_STATE, f"{before.id} could never run: {parents.unsatisfiable}", {"id": before.id}
        )
    goals = [before.seq] if before.batch_id is None else [before.seq, -before.batch_id]
    if any(waits_for(session, parents.waits_for, goal, set()) for goal in goals):
        message = f"dependency cycle: {before.id} would wait for itself"
        raise Refused(ErrorCode.CONFLICT, message, {"id": before.id, "key": "depends_on"})
    changes["depends_on"] = parents.named
    forget_parents(session, before.seq)
    edges = [(parent, before.seq, on) for parent, on in parents.waits_for.items()]
    session.executemany(INSERT_DEPENDENCY, edges)
    if before.state is S.HELD:
        return before
    return before._replace(state=S.BLOCKED if edges else S.PENDING)


def _write_fixed(session: Session, seq: int, new: NewJob, now: Now) -> dict[str, Any]:
    new_row = NewRow(seq, "", S.PENDING, 0, None, None, None, None, now.wall_ms, None, None, new.depends_on, 0)
    values = job_values(new, new_row)
    session.execute(_EDIT, {name: values[name] for name in _FIXED} | {"updated_ms": now.wall_ms, "seq": seq})
    return values
