"""Stores that look as after months: many waiting jobs, half of them in a paused queue, and many finished ones.

Waiting jobs come in through the store, a thousand at a time. Finished ones too, and are then finished by three
statements: a million turns would take an hour. `check_invariants` has nothing to say against the result.
"""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

from queuectld.domain.job import NewJob, Now
from queuectld.domain.retry import RetryPolicy
from queuectld.scheduler.clock import Clock
from queuectld.store.records import Committed
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


def fill(path: Path, waiting: int, finished: int = 0) -> None:
    """Make a store with so many jobs at `path`: finished ones first, as they would be the older ones."""
    asyncio.run(_add(path, waiting, finished))
    if finished:
        with closing(sqlite3.connect(path)) as connection, connection:
            for statement in (FINISH, ATTEMPTS, COUNTS):
                connection.execute(statement, (PAST,))


async def _add(path: Path, waiting: int, finished: int) -> None:
    store = Store.open(path, host="here", on_committed=_ignore, loop=asyncio.get_running_loop())
    try:
        now = Clock(None).now()
        await store.queue_pause(PAUSED, True, now=now)
        await _many(store, PAST, finished, now)
        await _many(store, PAUSED, waiting // 2, now)
        await _many(store, OPEN, waiting - waiting // 2, now)
    finally:
        await store.close()


async def _many(store: Store, queue: str, count: int, now: Now) -> None:
    job = NewJob(
        command=COMMAND, retry=RETRY, queue=queue, priority=LOWEST, environment=ENVIRONMENT, cwd="/"
    )  # fmt: skip
    for start in range(0, count, PIECE):
        await store.add_many([job] * min(PIECE, count - start), now=now)


def _ignore(_: Committed) -> None:
    """Nobody is to be told."""
