"""The first jobs of a listing by any key: a top-n scan in slices.

Only the order of enqueueing has an index. SQLite reads 5,000 rows in a few ms, so a million jobs are sorted by
any key in about a second, during which other reads run two hundred times.
"""

import sqlite3
from collections.abc import Iterable
from typing import Any, Final

from peewee import SQL

from queuectl_client.protocol.vocabulary import JobState
from queuectld.store.mapping.models import Job
from queuectld.store.mapping.sql import VISIBLE
from queuectld.store.reads import filtering, listings
from queuectld.store.records import ListQuery

Ranked = tuple[Any, int]
"""A value of the key, or None; and the number of its job."""

_STATES: Final = " ".join(f"WHEN '{state}' THEN {place}" for place, state in enumerate(JobState))
_STATE: Final = f"(CASE state {_STATES} END)"
"""States are ordered as they are shown."""


def slice_of(
    connection: sqlite3.Connection, query: ListQuery, key: str, descending: bool, count: int
) -> tuple[list[Ranked], str | None]:
    """Return the first `count` jobs of the next slice, in any order, and where the slice after it starts."""
    query = listings.narrowed(query)
    if query.seqs is not None:
        return [], None
    after = None if query.after is None else listings.cursor(query.after)
    sources = listings.sources(query)
    end = listings.end_of_window(connection, query, sources, after)
    conditions = [VISIBLE, *listings.filters(connection, query), *listings.between(query, after, end)]
    value = SQL(_STATE) if key == "state" else next(iter(filtering.ranking_columns([key], query.now_ms)))
    direction = "DESC" if descending else "ASC"
    found: list[Ranked] = []
    for source in sources:
        text, values = (
            Job.select(value.alias("value"), Job.seq)
            .where(source, *conditions)
            .order_by(SQL(f"value IS NULL, value {direction}, seq"))
            .limit(count)
            .sql()
        )
        found += connection.execute(text, values)
    return found, None if end is None else str(end)


def first(ranked: Iterable[Ranked], descending: bool, count: int) -> list[Ranked]:
    """Return the first `count` in order. Jobs without a value come last; equal ones are ordered by age."""
    by_age = sorted(ranked, key=lambda each: each[1])
    valued = sorted((each for each in by_age if each[0] is not None), key=lambda each: each[0], reverse=descending)
    return [*valued, *(each for each in by_age if each[0] is None)][:count]
