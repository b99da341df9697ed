"""Batches as people know them: jobs of one name, and those that wait for the end of all of them.

A row counts the jobs that have not ended, so that nobody has to look at the others when one does. (`batches` are the
uploads of jobs that come in several messages.)
"""

from typing import Final, NamedTuple

from queuectl_client.protocol.vocabulary import JobState
from queuectld.store.mapping.models import Bundle
from queuectld.store.mapping.statement import arg, insert_row, statement
from queuectld.store.writer.session import Session
from queuectld.store.writes.dependents import note_end

_FIND: Final = statement(
    Bundle.select(Bundle.id, Bundle.name, Bundle.open_jobs, Bundle.failed).where(Bundle.name == arg("name"))
)
_ADD: Final = insert_row(Bundle, ["name", "jobs", "open_jobs", "failed"])
_CHANGE: Final = statement(
    Bundle.update(
        jobs=Bundle.jobs + arg("jobs"), open_jobs=Bundle.open_jobs + arg("open_jobs"),
        failed=Bundle.failed + arg("failed"),
    )
    .where(Bundle.id == arg("id"))
    .returning(Bundle.name, Bundle.jobs, Bundle.open_jobs, Bundle.failed)
)  # fmt: skip
_DELETE: Final = statement(Bundle.delete().where(Bundle.id == arg("id")))


class Found(NamedTuple):
    """A batch. `state` is what its end is to those that wait for it: completed when every job was; None: it goes on."""

    id: int
    state: JobState | None


def find(session: Session, name: str) -> Found | None:
    """The batch of this name; None when it has no job."""
    row = session.execute(_FIND, {"name": name}).fetchone()
    if row is None:
        return None
    return Found(row[0], None if row[2] else _end(row[3]))


def number_of(session: Session, name: str) -> int:
    """The number of the batch of this name, which exists afterwards."""
    found = find(session, name)
    if found is not None:
        return found.id
    number = session.execute(_ADD, (name, 0, 0, 0)).lastrowid
    if number is None:
        raise RuntimeError("an INSERT gave no row id")
    return number


def change(session: Session, bundle: int, *, jobs: int = 0, open_jobs: int = 0, failed: int = 0) -> None:
    """So many more (or less) jobs, jobs that have not ended, and that failed. Those that wait are told of its end."""
    values = {"id": bundle, "jobs": jobs, "open_jobs": open_jobs, "failed": failed}
    name, all_jobs, left, all_failed = session.execute(_CHANGE, values).fetchall()[0]
    if open_jobs < 0 and not left:
        note_end(session, -bundle, f"batch:{name}", _end(all_failed))
    if not all_jobs:
        session.execute(_DELETE, {"id": bundle})


def _end(failed: int) -> JobState:
    return JobState.DEAD if failed else JobState.COMPLETED
