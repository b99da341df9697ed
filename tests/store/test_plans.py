"""No hot statement looks at rows it does not want, however many there are: SQLite's own plans say so."""

import re
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from queuectl_client.protocol import filters
from queuectl_client.protocol.attributes import KINDS
from queuectl_client.protocol.vocabulary import JobState
from queuectld.store.mapping import functions, schema
from queuectld.store.mapping.connection import open_writer
from queuectld.store.reads import listings, point_queries, selectors
from queuectld.store.records import ListQuery
from queuectld.store.writer import cache, session
from queuectld.store.writes import (
    adding,
    batches,
    changes,
    claims,
    concurrency_keys,
    dependencies,
    dependents,
    edits,
    explaining,
    housekeeping,
    idempotency,
    ranking,
    registry,
    removal,
    transitions,
    turn,
    uploads,
)

MODULES = (
    adding, batches, cache, changes, claims, concurrency_keys, dependencies, dependents, edits, explaining,
    housekeeping, idempotency, point_queries, ranking, registry, removal, selectors, session, transitions, turn,
    uploads,
)  # fmt: skip
BIG = ("job", "event", "attempt", "request", "environment", "dependency")
PAGED = {"housekeeping._UNUSED"}
"""Walks a whole table, of one row for each environment, once in a long while."""


def _statements() -> Iterator[tuple[str, str]]:
    for module in MODULES:
        for name, value in vars(module).items():
            texts = value.values() if isinstance(value, dict) else [value]
            for text in texts:
                if isinstance(text, str) and re.match(r"(SELECT|UPDATE|DELETE|INSERT) ", text):
                    yield f"{module.__name__.rpartition('.')[2]}.{name}", text


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    schema.prepare(tmp_path / "queuectl.db")
    made = open_writer(tmp_path / "queuectl.db")
    yield made
    made.close()


def _plan(connection: sqlite3.Connection, text: str) -> list[str]:
    names = re.findall(r":(\w+)", text)
    places = text.count("?")
    values = dict.fromkeys(names, 1) if names else (1,) * places
    return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}", values)]


def _scans(connection: sqlite3.Connection, text: str, plan: list[str]) -> list[str]:
    """Whole walks over a table that may be big. One in order and with a limit, or over a partial index, is none."""
    found = []
    for line in plan:
        walked = re.match(r"SCAN (\w+)(?: USING (?:COVERING )?INDEX (\w+))?", line)
        if not walked:
            continue
        table = re.sub(r"^t\d+$", "", walked[1]) or _first_table(text)
        partial = walked[2] and " WHERE " in (_sql_of(connection, walked[2]) or "")
        if table in BIG and not partial and "LIMIT" not in text:
            found.append(line)
    return found


def _first_table(text: str) -> str:
    match = re.search(r'FROM "(\w+)"', text)
    return match[1] if match else ""


def _sql_of(connection: sqlite3.Connection, index: str) -> str | None:
    row = connection.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (index,)).fetchone()
    return row[0] if row else None


def test_no_statement_walks_a_big_table_or_sorts_one(connection: sqlite3.Connection) -> None:
    checked = 0
    for name, text in _statements():
        plan = _plan(connection, text)
        checked += 1
        if name in PAGED:
            continue
        extremum = re.match(r'SELECT (MIN|MAX)\("t1"\."(seq|event_seq)"\) FROM', text)
        assert extremum or not _scans(connection, text, plan), (name, text, plan)
        assert not any("TEMP B-TREE FOR ORDER" in line for line in plan), (name, text, plan)
    assert checked > 60


@pytest.mark.parametrize(
    "text, index",
    [
        (claims._HEAD, "job_ready (lane=?)"),
        (turn._DUE_BY_STORE, "job_due (due_ms>? AND due_ms<?)"),
        (turn._DUE_BY_WALL, "job_run_at (run_at_ms>? AND run_at_ms<?)"),
        (cache._NEXT_STORE_DUE, "job_due"),
        (cache._NEXT_WALL_DUE, "job_run_at"),
        (ranking._FIRST, "job_ready (lane=?)"),
        (ranking._LAST, "job_ready (lane=?)"),
        (ranking._AHEAD, "job_ready (lane=? AND priority=? AND rank<?)"),
        (concurrency_keys._NEXT, "job_in_line (key=?)"),
        (concurrency_keys._WORST, "job_let_in (key=?)"),
        (point_queries._PROCESSING, "job_worker"),
        (registry._END_ENDING, "job_ending (ending=?)"),
        (adding._KEY_HOLDER, "job_unique_key (unique_key=?)"),
        (dependents._WAITS, "dependency_child (child=?)"),
        (dependencies._CHILDREN, "PRIMARY KEY (parent=?)"),
    ],
)
def test_each_hot_statement_uses_its_index(connection: sqlite3.Connection, text: str, index: str) -> None:
    plan = _plan(connection, text)
    assert len(plan) == 1, plan
    assert index in plan[0], plan


@pytest.mark.parametrize("state", sorted(listings.LISTED_STATES))
@pytest.mark.parametrize("newest_first", [True, False])
def test_a_listing_of_a_rare_state_reads_its_index(
    connection: sqlite3.Connection, state: JobState, newest_first: bool
) -> None:
    query = ListQuery(states=frozenset({state}), newest_first=newest_first, after="5")
    (source,) = listings.sources(query)
    text, values = listings._ordered(query, [source, *listings.between(query, 5, 9)], (listings.Job,)).limit(3).sql()
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}", values)]
    assert len(plan) == 1
    assert "job_listed (state=? AND seq" in plan[0]


def test_a_listing_of_a_batch_reads_its_index(connection: sqlite3.Connection) -> None:
    query = ListQuery(batch="b", states=frozenset({JobState.DEAD}))
    (source,) = listings.sources(query)
    text, values = listings._ordered(query, [source, *listings.between(query, 5, 9)], (listings.Job,)).limit(3).sql()
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}", values)]
    assert "job_bundle (bundle=? AND seq" in plan[0], plan
    assert not any("TEMP B-TREE" in line or line.startswith("SCAN job") for line in plan), plan


PAGES = [
    ListQuery(where=filters.parse(text), newest_first=newest_first, now_ms=1, **more)
    for newest_first in (True, False)
    for more in ({}, {"seqs": (3, 4)})
    for text in (
        *(f"{key}!=none" for key in KINDS),
        "state in (failed, dead) and attempts>2",
        "queue=q and name~'x*' and label.user=ada",
        "batch=b or needs.gpu>1",
        "not (created_at>2h or duration>10s)",
        "command~'*x*' and cwd!='/'",
    )
]


@pytest.mark.parametrize("query", PAGES, ids=str)
def test_no_filter_sorts_or_walks_farther_than_its_window(connection: sqlite3.Connection, query: ListQuery) -> None:
    plans = _plans_of(connection, query)
    assert plans
    for plan in plans:
        assert not any("TEMP B-TREE" in line for line in plan), plan
        assert not any(re.match(r"SCAN (t1|job)\b", line) for line in plan), plan


@pytest.mark.parametrize("keys", [list(KINDS), ["id"], ["seq", "command", "queue"]], ids=str)
def test_keys_had_alone_are_read_as_jobs_are(connection: sqlite3.Connection, keys: list[str]) -> None:
    for plan in _plans_of(connection, ListQuery(now_ms=1), keys):
        assert not any("TEMP B-TREE" in line or re.match(r"SCAN (t1|job)\b", line) for line in plan), plan


def test_a_filter_that_names_a_rare_state_or_a_batch_reads_its_index(connection: sqlite3.Connection) -> None:
    for text, index in (
        ("state=failed and attempts>2", "job_listed (state=? AND seq"),
        ("paused=no and state in (dead)", "job_listed (state=? AND seq"),
        ("state=processing and once", "job_worker"),
        ("batch=b and state!=dead", "job_bundle (bundle=? AND seq"),
    ):
        plans = _plans_of(connection, ListQuery(where=filters.parse(text), now_ms=1))
        assert any(index in line for plan in plans for line in plan), (text, plans)


def _plans_of(connection: sqlite3.Connection, query: ListQuery, keys: list[str] | None = None) -> list[list[str]]:
    """The plans of what is executed for a page that is not the first."""
    functions.register(connection)
    executed: list[str] = []
    connection.set_trace_callback(executed.append)
    asked = replace(query, after=None if query.seqs else "9")
    if keys is None:
        listings.page(connection, asked)
    else:
        listings.rows(connection, asked, keys)
    connection.set_trace_callback(None)
    return [[row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}")] for text in executed if "job" in text]
