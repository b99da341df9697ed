"""Named batches: groups of jobs whose common end other jobs can depend on. Stored in the table `bundle`.

A row counts the jobs that have not ended, so that the end of one job needs no scan of the others. Jobs sent in several
messages are an upload (`uploads`), which the wire calls `batch.open` to `batch.commit`.
"""

from typing import Final, NamedTuple

from queuectl_client.protocol.vocabulary import JobState
from queuectld.store.mapping.models import Batch
from queuectld.store.mapping.statement import arg, insert_row, statement
from queuectld.store.writer.session import Session
from queuectld.store.writes.dependents import note_end

_FIND: Final = statement(
    Batch.select(Batch.id, Batch.name, Batch.open_jobs, Batch.failed).where(Batch.name == arg("name"))
)
_ADD: Final = insert_row(Batch, ["name", "jobs", "open_jobs", "failed"])
_CHANGE: Final = statement(
    Batch.update(
        jobs=Batch.jobs + arg("jobs"), open_jobs=Batch.open_jobs + arg("open_jobs"),
        failed=Batch.failed + arg("failed"),
    )
    .where(Batch.id == arg("id"))
    .returning(Batch.name, Batch.jobs, Batch.open_jobs, Batch.failed)
)  # fmt: skip
_DELETE: Final = statement(Batch.delete().where(Batch.id == arg("id")))


class Found(NamedTuple):
    """A batch. `state` is how it has ended: completed if all jobs did, else dead; None: jobs are left."""

    id: int
    state: JobState | None


def find(session: Session, name: str) -> Found | None:
    """Return the batch of this name; None if it has no jobs."""
    row = session.execute(_FIND, {"name": name}).fetchone()
    if row is None:
        return None
    return Found(row[0], None if row[2] else _end(row[3]))


def number_of(session: Session, name: str) -> int:
    """Return the number of the batch of this name, creating it if needed."""
    found = find(session, name)
    if found is not None:
        return found.id
    number = session.execute(_ADD, (name, 0, 0, 0)).lastrowid
    if number is None:
        raise RuntimeError("an INSERT gave no row id")
    return number


def change(session: Session, batch: int, *, jobs: int = 0, open_jobs: int = 0, failed: int = 0) -> None:
    """Add to the counts of a batch; values may be negative. When it ends, its dependents are notified."""
    values = {"id": batch, "jobs": jobs, "open_jobs": open_jobs, "failed": failed}
    name, all_jobs, left, all_failed = session.execute(_CHANGE, values).fetchall()[0]
    if open_jobs < 0 and not left:
        note_end(session, -batch, f"batch:{name}", _end(all_failed))
    if not all_jobs:
        session.execute(_DELETE, {"id": batch})


def _end(failed: int) -> JobState:
    return JobState.DEAD if failed else JobState.COMPLETED
