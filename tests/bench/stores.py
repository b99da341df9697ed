"""Stores that look as after months: many waiting jobs, half of them in a paused queue, and many finished ones.

The first thousand of each kind come in through the store, the others are copies of their rows under other numbers.
Finished ones come in as waiting ones, too, and are then finished by three statements: a million turns would take an
hour. `check_invariants` has nothing to say against the result.
"""

import asyncio
import os
import sqlite3
from contextlib import closing
from pathlib import Path

from queuectld.domain.job import NewJob, Options
from queuectld.domain.retry import RetryPolicy
from queuectld.scheduler.clock import Clock
from queuectld.store.mapping import models
from queuectld.store.store import Store

PIECE = 1_000
PAUSED = "parked"
OPEN = "default"
PAST = "past"
COMMAND = ":"
LOWEST = -10
"""The priority of what waits: jobs that are measured go before it."""
ENVIRONMENT = {f"VARIABLE_{number}": "x" * 30 for number in range(40)}
RETRY = RetryPolicy(
    max_retries=3, backoff_base=2, backoff_max=3600, backoff_jitter=0, retry_on=(), no_retry_on=()
)  # fmt: skip

FINISH = """
    UPDATE job SET state = 'completed', lane = NULL, run = 1, runs = 1, started_ms = created_ms,
           finished_ms = created_ms + 5, updated_ms = created_ms + 5, exit_code = 0
    WHERE queue = (SELECT id FROM queue WHERE name = ?)
"""
ATTEMPTS = """
    INSERT INTO attempt (seq, run, attempt, worker, host, started_ms, finished_ms, duration_ms, exit_code, crashed,
           pid, user_us, system_us, max_rss_kib)
    SELECT seq, 1, 1, 1, 'here', started_ms, finished_ms, 5, 0, 0, 4711, 900, 900, 1800
    FROM job WHERE queue = (SELECT id FROM queue WHERE name = ?)
"""
COUNTS = """
    UPDATE count SET state = 'completed', ready = 0 WHERE queue = (SELECT id FROM queue WHERE name = ?)
"""
OTHERS = [field.column_name for field in models.Job._meta.sorted_fields if field.name not in ("seq", "id", "rank")]
COPY = f"""
    INSERT INTO job (seq, id, rank, {", ".join(OTHERS)})
    SELECT seq + :more, 'job_' || (seq + :more), rank + :more, {", ".join(OTHERS)}
    FROM job WHERE seq BETWEEN :first AND :last
"""
USES = "UPDATE environment SET jobs = (SELECT count(*) FROM job WHERE environment = environment.id)"
COUNT = "UPDATE count SET n = ? WHERE queue = (SELECT id FROM queue WHERE name = ?)"


def fill(path: Path, waiting: int, finished: int = 0) -> None:
    """Make a store with so many jobs at `path`: finished ones first, as they would be the older ones."""
    _add(path, PAST, finished)
    if finished:
        with closing(sqlite3.connect(path)) as connection, connection:
            for statement in (FINISH, ATTEMPTS, COUNTS):
                connection.execute(statement, (PAST,))
    _add(path, PAUSED, waiting // 2)
    _add(path, OPEN, waiting - waiting // 2)
    settle()


def settle() -> None:
    """Let the disk be done with what was filled in: for a while the kernel would write it beside what is measured."""
    os.sync()


def _add(path: Path, queue: str, count: int) -> None:
    """Let so many jobs wait in a queue that has none."""
    if not count:
        return
    first, there = asyncio.run(_begin(path, queue, min(count, PIECE)))
    with closing(sqlite3.connect(path)) as connection, connection:
        while there < count:
            more = min(there, count - there)
            connection.execute(COPY, {"first": first, "last": first + more - 1, "more": there})
            there += more
        connection.execute(COUNT, (count, queue))
        connection.execute(USES)


async def _begin(path: Path, queue: str, count: int) -> tuple[int, int]:
    """Add jobs through the store. The number of the first one, and how many there are."""
    job = NewJob(
        command=COMMAND, options=Options(RETRY), queue=queue, priority=LOWEST, environment=ENVIRONMENT
    )  # fmt: skip
    store = Store.open(path, host="here", loop=asyncio.get_running_loop())
    try:
        now = Clock(None).now()
        await store.queue_pause(PAUSED, True, now=now)
        return (await store.intake.add_many([job] * count, now=now)).seqs[0], count
    finally:
        await store.close()
