"""What a person may write for an id: `17`, `last`, `3-9`, `label:k=v`, `name:x*`, `batch:b`, `@failed`, `all`."""

import json
import re
import sqlite3
from collections.abc import Sequence
from typing import Final

from peewee import SQL

from queuectl_client.protocol.vocabulary import ErrorCode, JobState
from queuectld.domain.errors import Refused
from queuectld.store.mapping.models import Job
from queuectld.store.mapping.statement import arg, statement
from queuectld.store.reads.listings import VISIBLE, ListQuery

_RANGE: Final = re.compile(r"(\d{1,18})-(\d{1,18})", re.ASCII)
_NUMBER: Final = re.compile(r"\d{1,18}", re.ASCII)
_PLAIN: Final = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)
_BY_ID: Final = statement(Job.select(Job.seq).where((Job.id == arg("id")) & VISIBLE))
_BY_SEQ: Final = statement(Job.select(Job.seq).where((Job.seq == arg("seq")) & VISIBLE))
_BY_IDS: Final = statement(
    Job.select(Job.id, Job.seq).where(SQL("id IN (SELECT value FROM json_each(:ids))") & VISIBLE)
)
_BY_SEQS: Final = statement(Job.select(Job.seq).where(SQL("seq IN (SELECT value FROM json_each(:seqs))") & VISIBLE))
_LAST: Final = statement(Job.select(Job.seq).where(VISIBLE).order_by(Job.seq.desc()).limit(arg("one")))
_BETWEEN: Final = statement(
    Job.select(Job.seq)
    .where((Job.seq >= arg("first")) & (Job.seq <= arg("last")) & VISIBLE)
    .order_by(Job.seq)
    .limit(arg("limit"))
)


def find(connection: sqlite3.Connection, reference: str) -> int | None:
    """The number of the job with exactly this id, else with this number; None when there is none."""
    row = connection.execute(_BY_ID, {"id": reference}).fetchone()
    if row is None and _NUMBER.fullmatch(reference):
        row = connection.execute(_BY_SEQ, {"seq": int(reference)}).fetchone()
    return None if row is None else int(row[0])


def plain(reference: str) -> bool:
    """Whether a reference can name one job alone, by its id or number: it has not the form of a selector."""
    if reference in ("all", "last") or _RANGE.fullmatch(reference):
        return False
    return _PLAIN.fullmatch(reference) is not None


def needed(connection: sqlite3.Connection, reference: int | str) -> int:
    """The number of the job that an id or a number stands for; a number known before stays. Refused (not_found)."""
    if isinstance(reference, int):
        return reference
    found = find(connection, reference)
    if found is None:
        raise Refused(ErrorCode.NOT_FOUND, f"there is no job {reference!r}", {"id": reference})
    return found


def find_each(connection: sqlite3.Connection, references: Sequence[str]) -> list[int | None]:
    """As `find`, for several."""
    if len(references) == 1:
        return [find(connection, references[0])]
    by_id = dict(connection.execute(_BY_IDS, {"ids": json.dumps(references)}))
    numbers = {
        reference: int(reference) for reference in references if reference not in by_id and _NUMBER.fullmatch(reference)
    }
    there = set()
    if numbers:
        there = {row[0] for row in connection.execute(_BY_SEQS, {"seqs": json.dumps(list(numbers.values()))})}
    by_number = {reference: seq for reference, seq in numbers.items() if seq in there}
    return [by_id.get(reference, by_number.get(reference)) for reference in references]


def select_few(connection: sqlite3.Connection, selector: str, limit: int) -> list[int] | None:
    """The jobs of a selector that is answered at once; None: it is one for `listing`."""
    found = find(connection, selector)
    if found is not None:
        return [found]
    if selector == "last":
        return [row[0] for row in connection.execute(_LAST, {"one": 1})]
    span = _RANGE.fullmatch(selector)
    if span:
        values = {"first": int(span[1]), "last": int(span[2]), "limit": limit}
        return [row[0] for row in connection.execute(_BETWEEN, values)]
    return [] if listing(selector) is None else None


def listing(selector: str) -> ListQuery | None:
    """The listing a selector stands for; None when it is none. Raises Refused for a state there is not."""
    kind, _, rest = selector.partition(":")
    if selector == "all":
        return ListQuery()
    if selector.startswith("@"):
        try:
            return ListQuery(states=frozenset({JobState(selector[1:])}))
        except ValueError as error:
            known = ", ".join(f"@{state}" for state in JobState)
            raise Refused(ErrorCode.INVALID_PARAMS, f"{selector!r} names no state; there are {known}.") from error
    if kind == "label" and "=" in rest:
        key, _, value = rest.partition("=")
        return ListQuery(labels={key: value})
    if kind == "batch" and rest:
        return ListQuery(batch=rest)
    if kind == "name" and rest:
        return ListQuery(name_glob=rest)
    return None
