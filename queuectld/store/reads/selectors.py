"""Finding jobs by reference: an exact id takes precedence over a number."""

import json
import sqlite3
from collections.abc import Sequence
from typing import Final

from queuectl_client.protocol.selectors import number
from queuectl_client.protocol.vocabulary import ErrorCode
from queuectld.domain.errors import Refused
from queuectld.store.mapping.models import Job
from queuectld.store.mapping.sql import AMONG_IDS, AMONG_SEQS, VISIBLE
from queuectld.store.mapping.statement import arg, statement

_BY_ID: Final = statement(Job.select(Job.seq).where((Job.id == arg("id")) & VISIBLE))
_BY_SEQ: Final = statement(Job.select(Job.seq).where((Job.seq == arg("seq")) & VISIBLE))
_BY_IDS: Final = statement(Job.select(Job.id, Job.seq).where(AMONG_IDS & VISIBLE))
_BY_SEQS: Final = statement(Job.select(Job.seq).where(AMONG_SEQS & VISIBLE))
_NEWEST: Final = statement(
    Job.select(Job.seq).where((Job.seq <= arg("upto")) & VISIBLE).order_by(Job.seq.desc()).limit(arg("one"))
)
MAX_SEQ: Final = 2**62
"""The largest possible number of a job."""


def find(connection: sqlite3.Connection, reference: str) -> int | None:
    """Return the number of the job with this id, else with this number; None if there is none."""
    row = connection.execute(_BY_ID, {"id": reference}).fetchone()
    if row is None and (seq := number(reference)) is not None:
        row = connection.execute(_BY_SEQ, {"seq": seq}).fetchone()
    return None if row is None else int(row[0])


def require(connection: sqlite3.Connection, reference: int | str) -> int:
    """Return the number of the job with this id or number; an int is returned as it is. Refused (not_found)."""
    if isinstance(reference, int):
        return reference
    found = find(connection, reference)
    if found is None:
        raise Refused(ErrorCode.NOT_FOUND, f"no such job: {reference!r}", {"id": reference})
    return found


def find_each(connection: sqlite3.Connection, references: Sequence[str]) -> list[int | None]:
    """Like `find`, for many references."""
    if len(references) == 1:
        return [find(connection, references[0])]
    by_id = dict(connection.execute(_BY_IDS, {"ids": json.dumps(references)}))
    numbers = {
        reference: seq
        for reference in references
        if reference not in by_id and (seq := number(reference)) is not None
    }  # fmt: skip
    there = set()
    if numbers:
        there = {row[0] for row in connection.execute(_BY_SEQS, {"seqs": json.dumps(list(numbers.values()))})}
    by_number = {reference: seq for reference, seq in numbers.items() if seq in there}
    return [by_id.get(reference, by_number.get(reference)) for reference in references]


def newest(connection: sqlite3.Connection, upto: int = MAX_SEQ) -> int | None:
    """Return the number of the newest visible job up to `upto`; None if there is none."""
    row = connection.execute(_NEWEST, {"upto": upto, "one": 1}).fetchone()
    return None if row is None else int(row[0])
