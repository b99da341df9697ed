"""Invariants that must hold in a store, whatever was killed when."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final

from queuectld.store.mapping import files
from queuectld.store.mapping.connection import open_onlooker

SHOWN: Final = 5
"""Rows named for one finding."""
COUNTED: Final = """
    SELECT CASE WHEN b.state IN ('open', 'discarded') THEN b.id ELSE 0 END AS hidden, j.queue, j.state,
           j.lane IS NOT NULL AS ready, count(*) AS n
    FROM job AS j LEFT JOIN batch AS b ON b.id = j.batch
    WHERE b.state IS NULL OR b.state <> 'discarded' GROUP BY 1, 2, 3, 4
"""
RULES: Final = {
    "counts that differ from the jobs": f"""
        SELECT coalesce(c.batch, j.hidden) AS batch, coalesce(c.queue, j.queue) AS queue,
               coalesce(c.state, j.state) AS state, c.n AS noted, j.n AS found
        FROM ({COUNTED}) AS j FULL JOIN (SELECT * FROM count WHERE n <> 0 AND batch NOT IN
             (SELECT id FROM batch WHERE state = 'discarded')) AS c
          ON c.batch = j.hidden AND c.queue = j.queue AND c.state = j.state AND c.ready = j.ready
        WHERE c.n IS NOT j.n
    """,
    "processing jobs without a worker": """
        SELECT seq, worker FROM job WHERE state = 'processing' AND worker NOT IN (SELECT id FROM worker)
    """,
    "workers with two jobs": "SELECT worker FROM job WHERE worker IS NOT NULL GROUP BY worker HAVING count(*) > 1",
    "jobs being ended by a worker that is gone": """
        SELECT seq, ending FROM job WHERE ending IS NOT NULL AND ending NOT IN (SELECT id FROM worker)
    """,
    "waiting jobs that nothing will ever start": """
        SELECT seq, state FROM job WHERE state IN ('pending', 'failed') AND lane IS NULL AND due_ms IS NULL
        AND batch IS NULL AND in_line = 0 AND (run_at_ms IS NULL OR state = 'failed')
    """,
    "jobs in a lane of another queue": """
        SELECT j.seq FROM job AS j LEFT JOIN lane AS l ON l.id = j.lane
        WHERE j.lane IS NOT NULL AND l.queue IS NOT j.queue
    """,
    "jobs of a queue that is not there": "SELECT seq FROM job WHERE queue NOT IN (SELECT id FROM queue)",
    "jobs of a batch that is not there": """
        SELECT seq FROM job WHERE batch IS NOT NULL AND batch NOT IN (SELECT id FROM batch)
    """,
    "jobs without their environment": "SELECT seq FROM job WHERE environment NOT IN (SELECT id FROM environment)",
    "environments that count other jobs than there are": """
        SELECT e.id, e.jobs, n FROM environment AS e
        LEFT JOIN (SELECT environment AS id, count(*) AS n FROM job GROUP BY environment) USING (id)
        WHERE e.jobs IS NOT n
    """,
    "blocked jobs that wait for nobody": """
        SELECT seq FROM job WHERE state = 'blocked' AND batch IS NULL AND seq NOT IN (SELECT child FROM dependency)
    """,
    "dependencies on jobs that have ended or are gone": """
        SELECT d.parent, d.child FROM dependency AS d LEFT JOIN job AS p ON p.seq = d.parent
        WHERE d.parent > 0 AND d.parent NOT IN (SELECT parent FROM resolving)
        AND (p.seq IS NULL OR p.state IN ('completed', 'dead', 'cancelled'))
    """,
    "dependencies of jobs that do not wait": """
        SELECT d.parent, d.child FROM dependency AS d LEFT JOIN job AS c ON c.seq = d.child
        WHERE c.seq IS NULL OR c.state NOT IN ('blocked', 'held')
    """,
    "dependencies on batches that have ended or are gone": """
        SELECT d.parent, d.child FROM dependency AS d LEFT JOIN bundle AS b ON b.id = -d.parent
        WHERE d.parent < 0 AND d.parent NOT IN (SELECT parent FROM resolving) AND coalesce(b.open_jobs, 0) = 0
    """,
    "batches that count other jobs than there are": """
        SELECT b.name, b.jobs, b.open_jobs, count(j.seq)
        FROM bundle AS b LEFT JOIN job AS j ON j.bundle = b.id GROUP BY b.id
        HAVING b.jobs <> count(j.seq) OR b.jobs = 0 OR b.open_jobs <>
               count(CASE WHEN j.state NOT IN ('completed', 'dead', 'cancelled') THEN 1 END)
    """,
    "jobs in line for a key that nobody holds": """
        SELECT seq, key FROM job WHERE in_line = 1 AND key NOT IN (SELECT key FROM job WHERE key IS NOT NULL
        AND (lane IS NOT NULL OR state = 'processing' OR ending IS NOT NULL))
    """,
    "jobs that go before one of their key that was let in": """
        SELECT w.seq, h.seq FROM (
            SELECT key, seq, priority, rank, row_number() OVER (PARTITION BY key ORDER BY priority DESC, rank) AS place
            FROM job WHERE in_line = 1
        ) AS w JOIN (
            SELECT key, seq, priority, rank, row_number() OVER (PARTITION BY key ORDER BY priority, rank DESC) AS place
            FROM job WHERE key IS NOT NULL AND lane IS NOT NULL
        ) AS h USING (key) JOIN (
            SELECT key FROM job WHERE key IS NOT NULL GROUP BY key HAVING min(key_limit) = max(key_limit)
        ) USING (key)
        WHERE +w.place = 1 AND +h.place = 1 AND (w.priority, -w.rank) > (h.priority, -h.rank)
    """,
    "attempts of jobs that are gone": "SELECT seq, run FROM attempt WHERE seq NOT IN (SELECT seq FROM job)",
    "attempts of runs that have not ended": """
        SELECT a.seq, a.run FROM attempt AS a JOIN job AS j USING (seq)
        WHERE a.run > j.run OR (a.run = j.run AND j.state = 'processing')
    """,
    "jobs with more ended runs than were begun": """
        SELECT j.seq, j.runs, count(*) FROM job AS j JOIN attempt AS a USING (seq)
        GROUP BY j.seq HAVING count(*) > j.runs
    """,
    "jobs that failed or crashed more often than they ran": """
        SELECT seq, runs FROM job WHERE attempts + crashes > runs
    """,
}


Progress = Callable[[str, int, int], None]
"""Called with the name of the next check, its step, and the number of steps."""


def _untold(_words: str, _step: int, _steps: int) -> None:
    """Ignore the progress."""


def findings(connection: sqlite3.Connection, progress: Progress = _untold) -> list[str]:
    """Return the violations, one sentence each. SQLite's own check comes first; on a damaged file it is the only one.

    Each step is a transaction of its own, so that the log can restart in between, and scans the jobs once.
    """
    progress("damage", 1, len(RULES) + 1)
    damaged = [row[0] for row in connection.execute("PRAGMA integrity_check(10)") if row[0] != "ok"]
    if damaged:
        return [f"integrity_check: {line}" for line in damaged]
    found = []
    for step, (name, query) in enumerate(RULES.items(), 2):
        progress(name, step, len(RULES) + 1)
        rows = connection.execute(query).fetchmany(SHOWN + 1)
        if rows:
            more = " and more" if len(rows) > SHOWN else ""
            found.append(f"{name}: {json.dumps(rows[:SHOWN])}{more}")
    return found


def examine(path: Path, progress: Progress = _untold) -> tuple[int | None, list[str]]:
    """Return the schema version of the store at `path` (None: no file), and its violations.

    Raises StoreRefused, naming the file, if it cannot be read as a store.
    """
    version = files.read_version(path)
    return version, [] if version is None else files.refuse_on_error(path, lambda: check_invariants(path, progress))


def check_invariants(path: Path | str, progress: Progress = _untold) -> list[str]:
    """Return the violations in the store file at `path`, which may be in use; it is not written to."""
    connection = open_onlooker(Path(path))
    try:
        return findings(connection, progress)
    finally:
        connection.close()
