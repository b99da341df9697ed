"""Rows that say which jobs wait for which parent; `dependencies.resolve` works through them in slices."""

import json
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Final

from peewee import SQL

from queuectl_client.protocol.vocabulary import JobState
from queuectld.store.mapping.models import Dependency, Resolving
from queuectld.store.mapping.statement import arg, insert_row, statement
from queuectld.store.records import Dependents
from queuectld.store.writer.session import Session

_HAS_CHILDREN: Final = statement(
    Dependency.select(Dependency.child).where(Dependency.parent == arg("parent")).limit(arg("one"))
)
_FORGET_PARENTS: Final = statement(Dependency.delete().where(Dependency.child == arg("child")))
_WAITS: Final = statement(
    Dependency.select(Dependency.parent).where(Dependency.child == arg("child")).limit(arg("one"))
)
_WAITING: Final = statement(
    Dependency.select(Dependency.child).where(SQL("child IN (SELECT value FROM json_each(:seqs))")).distinct()
)
_PARENTS: Final = statement(
    Dependency.select(Dependency.parent).where(SQL("parent IN (SELECT value FROM json_each(:seqs))")).distinct()
)
_FORGET_PARENTS_OF: Final = statement(Dependency.delete().where(SQL("child IN (SELECT value FROM json_each(:seqs))")))
_COUNT_WAITING: Final = statement(
    Dependency.select(SQL("max(\"on\" = 'completed') AS cancels"))
    .where(SQL(
        "parent IN (SELECT value FROM json_each(:parents)) AND child NOT IN (SELECT value FROM json_each(:besides))"
    ))
    .group_by(Dependency.child)
    .limit(arg("most"))
)  # fmt: skip
MAX_COUNTED: Final = 100_000
"""Jobs that are counted of those that wait for a slice of removed jobs."""
_RESOLVE: Final = insert_row(Resolving)


def note_end(session: Session, parent: int, name: str, state: JobState) -> None:
    """Schedule the resolution of an ended parent, if it has children. A batch is a parent with a negative number."""
    if session.execute(_HAS_CHILDREN, {"parent": parent, "one": 1}).fetchone() is None:
        return
    resolving = session.cache.resolving
    if parent not in resolving:
        session.execute(_RESOLVE, (parent, name, state.value))
        resolving.add(parent)
        session.on_rollback(partial(resolving.discard, parent))


def count_waiting(session: Session, parents: Iterable[int], besides: Iterable[int] = ()) -> Dependents:
    """Return what becomes of the jobs, other than `besides`, that wait for these jobs when these are removed."""
    values = {"parents": json.dumps(list(parents)), "besides": json.dumps(list(besides)), "most": MAX_COUNTED}
    waiting = [row[0] for row in session.execute(_COUNT_WAITING, values)]
    return Dependents(sum(waiting), len(waiting) - sum(waiting))


def forget_parents(session: Session, child: int) -> None:
    """Delete the dependencies of a job that has ended or is removed."""
    session.execute(_FORGET_PARENTS, {"child": child})


def note_ends(session: Session, ended: Mapping[int, tuple[str, JobState]]) -> None:
    """Like `note_end`, for many jobs by number."""
    for (parent,) in session.execute(_PARENTS, {"seqs": json.dumps(list(ended))}).fetchall():
        note_end(session, parent, *ended[parent])


def forget_parents_of(session: Session, children: Iterable[int]) -> None:
    """Like `forget_parents`, for many jobs."""
    session.execute(_FORGET_PARENTS_OF, {"seqs": json.dumps(list(children))})


def those_waiting(session: Session, children: Iterable[int]) -> set[int]:
    """Return the jobs that have unresolved dependencies."""
    return {row[0] for row in session.execute(_WAITING, {"seqs": json.dumps(list(children))})}


def is_waiting(session: Session, child: int) -> bool:
    """Whether a job has unresolved dependencies."""
    return session.execute(_WAITS, {"child": child, "one": 1}).fetchone() is not None
