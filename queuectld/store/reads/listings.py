"""Listings of jobs, a page at a time. A page is bounded in rows read and in bytes."""

import heapq
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Any, Final

from peewee import SQL, FloatField, IntegerField, Node

from queuectl_client.protocol.vocabulary import ErrorCode, JobState
from queuectld.domain.errors import Refused
from queuectld.store.mapping.jobrows import read_job
from queuectld.store.mapping.models import LISTED_STATES, Job, Queue
from queuectld.store.mapping.rows import Row, read_shown
from queuectld.store.mapping.sql import VISIBLE, WHOLE_JOB, WORKED_ON
from queuectld.store.mapping.statement import arg, statement
from queuectld.store.reads import filtering
from queuectld.store.records import MAX_LOOKED_AT, ListQuery, Page, Rows

MAX_PAGE_BYTES: Final = 1024 * 1024
_QUEUE_ID: Final = statement(Queue.select(Queue.id).where(Queue.name == arg("name")))
_NO_QUEUE: Final = -1
_SIZED: Final = [
    place for place, column in enumerate(Job._meta.sorted_fields) if not isinstance(column, IntegerField | FloatField)
]
_SEQ: Final = object()
"""Placeholder for a number among the values of a statement."""


def page(connection: sqlite3.Connection, query: ListQuery) -> Page:
    """Return a page of a listing. It may be empty while `next` is set: more rows are left to read."""
    found, next_after = scan(connection, query, (WHOLE_JOB,), _size_of_whole)
    return Page([read_job(row) for row in found], next_after)


def rows(connection: sqlite3.Connection, query: ListQuery, keys: Sequence[str]) -> Rows:
    """Return a page with only these keys of each job; much less work than whole jobs."""
    found, next_after = scan(connection, query, (Job.seq, *filtering.shown_columns(keys, query.now_ms)))
    return Rows([read_shown(keys, row[1:]) for row in found], next_after)


def seqs(connection: sqlite3.Connection, query: ListQuery) -> tuple[list[int], str | None]:
    """Return the numbers of a page, and where the next page starts."""
    found, next_after = scan(connection, query, (Job.seq,))
    return [row[0] for row in found], next_after


def scan(
    connection: sqlite3.Connection,
    query: ListQuery,
    columns: Sequence[Any],
    size_of: Callable[[Row], int] | None = None,
) -> tuple[list[Row], str | None]:
    """Return the rows of a page, with the number in the first column, and where the next page starts."""
    size_of = size_of or _size
    after = None if query.after is None else cursor(query.after)
    query = narrowed(query)
    if query.seqs is not None:
        return _named(connection, query, query.seqs, after or 0, columns, size_of)
    places = sources(query)
    end = end_of_window(connection, query, places, after)
    conditions = [VISIBLE, *filters(connection, query), *between(query, after, end)]
    streams = [_rows(connection, query, [source, *conditions], columns) for source in places]
    found: list[Row] = []
    size = 0
    merged = heapq.merge(*streams, key=itemgetter(0), reverse=query.newest_first)
    for row in streams[0] if len(streams) == 1 else merged:
        found.append(row)
        size += size_of(row)
        if len(found) >= query.limit or size >= MAX_PAGE_BYTES:
            return found, str(row[0])
    return found, None if end is None else str(end)


def _size(row: Row) -> int:
    return sum(len(value) for value in row if isinstance(value, str | bytes))


_sized: Final = itemgetter(*_SIZED)


def _size_of_whole(row: Row) -> int:
    return sum(map(len, filter(None, _sized(row))))


def _named(
    connection: sqlite3.Connection,
    query: ListQuery,
    numbers: Sequence[int],
    start: int,
    columns: Sequence[Any],
    size_of: Callable[[Row], int],
) -> tuple[list[Row], str | None]:
    """Return the matching jobs among these numbers, in this order, from index `start` on."""
    conditions = [SQL("seq = ?", [_SEQ]), VISIBLE, *filters(connection, query)]
    text, values = Job.select(*columns).where(*conditions).sql()
    place = values.index(_SEQ)
    found: list[Row] = []
    size = 0
    end = min(start + MAX_LOOKED_AT, len(numbers))
    for position in range(start, end):
        values[place] = numbers[position]
        row = connection.execute(text, values).fetchone()
        if row is None:
            continue
        found.append(row)
        size += size_of(row)
        if len(found) >= query.limit or size >= MAX_PAGE_BYTES:
            end = position + 1
            break
    return found, str(end) if end < len(numbers) else None


def narrowed(query: ListQuery) -> ListQuery:
    """Return the query with the states, queue and batch taken from its filter, so that indexes apply."""
    if (where := query.where) is None:
        return query
    named = filtering.states_named(where)
    if named is not None and query.states:
        named &= query.states
    if named is not None and not named:
        return replace(query, seqs=())
    return replace(
        query,
        states=query.states if named is None else named,
        queue=filtering.name_of(where, "queue") if query.queue is None else query.queue,
        batch=filtering.name_of(where, "batch") if query.batch is None else query.batch,
    )


def cursor(after: str) -> int:
    """Convert the `next` of a page to the number of a job. Refused (invalid_params) if it is none."""
    if not after.isdecimal():
        raise Refused(ErrorCode.INVALID_PARAMS, f"invalid after: {after!r}; expected the `next` of an answer")
    return min(int(after), 2**62)


def sources(query: ListQuery) -> list[Node]:
    """Return the index to scan: all jobs by number, or the index of a batch or of rare states."""
    if query.batch is not None:
        return [_of_batch(query.batch)]
    if query.states and query.states <= LISTED_STATES:
        return [SQL(f"state = '{state}'") for state in sorted(query.states)]
    if query.states == {JobState.PROCESSING}:
        return [WORKED_ON]
    return [SQL("1")]


def _of_batch(name: str) -> Node:
    return SQL("bundle = (SELECT id FROM bundle WHERE name = ?)", [name])


def end_of_window(
    connection: sqlite3.Connection, query: ListQuery, places: Sequence[Node], after: int | None
) -> int | None:
    """Return the last number to read in this call; None: the end of the table is within the limit."""
    ends: list[int] = []
    offset = MAX_LOOKED_AT // len(places) - 1
    for source in places:
        conditions = [source, *between(query, after, None)]
        text, values = _ordered(query, conditions, (Job.seq,)).limit(1).offset(offset).sql()
        row = connection.execute(text, values).fetchone()
        if row is not None:
            ends.append(row[0])
    if not ends:
        return None
    return max(ends) if query.newest_first else min(ends)


def between(query: ListQuery, after: int | None, end: int | None) -> Iterator[Node]:
    """Yield the conditions for numbers after `after` up to `end`, in the direction of the listing."""
    if query.upto is not None:
        yield Job.seq <= query.upto
    if query.newest_first:
        after, end = end, after
        if after is not None:
            yield Job.seq >= after
        if end is not None:
            yield Job.seq < end
        return
    if after is not None:
        yield Job.seq > after
    if end is not None:
        yield Job.seq <= end


def filters(connection: sqlite3.Connection, query: ListQuery) -> Iterator[Node]:
    """Yield the conditions on each job."""
    if query.states:
        yield Job.state << [state.value for state in sorted(query.states)]
    if query.queue is not None:
        row = connection.execute(_QUEUE_ID, {"name": query.queue}).fetchone()
        yield Job.queue == (row[0] if row else _NO_QUEUE)
    if query.name is not None:
        yield SQL("name GLOB ?", [query.name])
    if query.since_ms is not None:
        yield Job.created_ms >= query.since_ms
    if query.where is not None:
        yield filtering.condition(query.where, query.now_ms)
    if query.batch is not None and query.seqs is not None:
        yield _of_batch(query.batch)
    for key, value in query.labels.items():
        yield SQL("EXISTS (SELECT 1 FROM json_each(labels) AS l WHERE l.key = ? AND l.value = ?)", [key, value])


def _rows(
    connection: sqlite3.Connection, query: ListQuery, conditions: Sequence[Node], columns: Sequence[Any]
) -> Iterator[Row]:
    text, values = _ordered(query, conditions, columns).limit(query.limit).sql()
    return connection.execute(text, values)


def _ordered(query: ListQuery, conditions: Sequence[Node], columns: Sequence[Any]) -> Any:
    return Job.select(*columns).where(*conditions).order_by(Job.seq.desc() if query.newest_first else Job.seq)
