"""Repairs derived data of a store: counts, lanes, keys, dependencies. No job is lost.

An older queuectl left wrong data behind: when many jobs of one key were removed or cancelled in one call, it miscounted
some and admitted none of the others. `repair_once` repairs that when such a store is first opened; `repair` repairs all
that can be repaired, for `queuectl doctor --repair`. Jobs that should run become due; the next turn admits them.
"""

import logging
import sqlite3
from pathlib import Path
from typing import Final

from queuectl_client.protocol.vocabulary import ENDED_STATES
from queuectld.store.mapping import files, schema
from queuectld.store.mapping.models import none_of, one_of
from queuectld.store.reads.invariants import COUNTED
from queuectld.store.records import StoreRefused
from queuectld.store.writes.transitions import MAY_DEPEND

log = logging.getLogger(__name__)

_ENDED: Final = one_of(ENDED_STATES)
_KEYS: Final = """
    UPDATE job SET in_line = 0, due_ms = 0 WHERE in_line = 1 AND key NOT IN (
        SELECT key FROM job WHERE key IS NOT NULL AND lane IS NOT NULL
        UNION SELECT key FROM job WHERE worker IS NOT NULL AND key IS NOT NULL
        UNION SELECT key FROM job WHERE ending IS NOT NULL AND key IS NOT NULL
    )
"""
_AT_ONCE: Final = "CASE WHEN due_ms IS NULL AND run_at_ms IS NULL THEN 0 ELSE due_ms END"
_STEPS: Final = {
    "jobs of a batch that is not there": (
        "UPDATE job SET batch = NULL WHERE batch IS NOT NULL AND batch NOT IN (SELECT id FROM batch)"
    ),
    "dependencies of jobs that do not wait": f"""
        DELETE FROM dependency WHERE child NOT IN (SELECT seq FROM job WHERE {one_of(MAY_DEPEND)})
    """,
    "batches that count other jobs than there are": f"""
        UPDATE bundle SET jobs = j.jobs, open_jobs = j.open_jobs, failed = max(bundle.failed, j.failed)
        FROM (SELECT b.id, count(j.seq) AS jobs, count(CASE WHEN {none_of(ENDED_STATES)} THEN j.seq END) AS open_jobs,
              count(CASE WHEN state IN ('dead', 'cancelled') THEN 1 END) AS failed
              FROM bundle AS b LEFT JOIN job AS j ON j.bundle = b.id GROUP BY b.id) AS j
        WHERE j.id = bundle.id AND (bundle.jobs, bundle.open_jobs) IS NOT (j.jobs, j.open_jobs)
    """,
    "dependencies on jobs that have ended or are gone": f"""
        INSERT INTO resolving (parent, parent_id, state)
        SELECT DISTINCT d.parent, coalesce(p.id, 'job_' || d.parent), coalesce(p.state, 'cancelled')
        FROM dependency AS d LEFT JOIN job AS p ON p.seq = d.parent
        WHERE d.parent > 0 AND d.parent NOT IN (SELECT parent FROM resolving) AND (p.seq IS NULL OR {_ENDED})
    """,
    "dependencies on batches that have ended or are gone": """
        INSERT INTO resolving (parent, parent_id, state)
        SELECT DISTINCT d.parent, 'batch:' || coalesce(b.name, ''), iif(b.failed = 0, 'completed', 'dead')
        FROM dependency AS d LEFT JOIN bundle AS b ON b.id = -d.parent
        WHERE d.parent < 0 AND d.parent NOT IN (SELECT parent FROM resolving) AND coalesce(b.open_jobs, 0) = 0
    """,
    "blocked jobs that wait for nobody": f"""
        UPDATE job SET state = 'pending', due_ms = {_AT_ONCE}
        WHERE state = 'blocked' AND batch IS NULL AND seq NOT IN (SELECT child FROM dependency)
    """,
    "jobs in a lane of another queue": """
        UPDATE job SET lane = NULL, due_ms = 0
        WHERE lane IS NOT NULL AND NOT EXISTS (SELECT 1 FROM lane AS l WHERE l.id = job.lane AND l.queue = job.queue)
    """,
    "jobs in line for a key that nobody holds": _KEYS,
    "waiting jobs that nothing will ever start": """
        UPDATE job SET due_ms = 0 WHERE state IN ('pending', 'failed') AND lane IS NULL AND due_ms IS NULL
        AND batch IS NULL AND in_line = 0 AND (run_at_ms IS NULL OR state = 'failed')
    """,
    "environments that count other jobs than there are": """
        UPDATE environment SET jobs = coalesce(j.n, 0)
        FROM (SELECT e.id, n FROM environment AS e
              LEFT JOIN (SELECT environment AS id, count(*) AS n FROM job GROUP BY environment) USING (id)) AS j
        WHERE j.id = environment.id AND environment.jobs IS NOT j.n
    """,
    "attempts of jobs that are gone": "DELETE FROM attempt WHERE seq NOT IN (SELECT seq FROM job)",
}
"""The statement that repairs each finding of `invariants.RULES`. Ordered: one may lead to the next."""
_COUNTS: Final = "counts that differ from the jobs"
_TAKE_COUNTS: Final = f"INSERT INTO count (batch, queue, state, ready, n) SELECT * FROM ({COUNTED})"
_READ_COUNTS: Final = "SELECT batch, queue, state, ready, n FROM count WHERE n <> 0"


def can_repair(finding: str) -> bool:
    """Whether `repair` can repair this finding of the invariants."""
    return finding.partition(":")[0] in (*_STEPS, _COUNTS)


def repair_once(connection: sqlite3.Connection) -> None:
    """Repair what an older queuectl did to jobs with keys, unless this store was checked before.

    If the disk is full or the store is locked, the next start tries again.
    """
    if connection.execute("SELECT 1 FROM meta WHERE key = ?", (schema.REPAIRED,)).fetchone():
        return
    try:
        connection.execute("BEGIN IMMEDIATE")
        stranded = connection.execute(_KEYS).rowcount
        counts = _recount(connection)
        connection.execute(schema.MARK_REPAIRED)
        connection.execute("COMMIT")
    except sqlite3.OperationalError as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        log.warning("store repair failed; the next start tries again: %s", error)
        return
    if stranded or counts:
        log.warning("repaired data of an older queuectl: %d stranded jobs, %d wrong counts", stranded, counts)


def repair(path: Path) -> tuple[dict[str, int], Path | None]:
    """Repair the store at `path`, which no daemon may have open. Return the repaired rows by finding, and the backup.

    No backup is made if there is nothing to repair.
    Raises StoreRefused, and changes nothing, if there is no store or the file itself is damaged.
    """
    if files.read_version(path) is None:
        raise StoreRefused(f"no such store: {path}")
    schema.prepare(path)
    return files.refuse_on_error(path, lambda: _repair(path))


def _repair(path: Path) -> tuple[dict[str, int], Path | None]:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous = FULL")
        damaged = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if damaged != "ok":
            raise StoreRefused(f"the store {path} is damaged: {damaged}; it was left unchanged; {files.ADVICE}")
        if not _run_steps(connection, "ROLLBACK"):
            return {}, None
        backup = files.backup_path(path, "unrepaired")
        files.copy(connection, backup)
        return _run_steps(connection, "COMMIT"), backup
    finally:
        connection.close()


def _run_steps(connection: sqlite3.Connection, end: str) -> dict[str, int]:
    """Run all steps in one transaction, ended by `end`. Return the number of wrong rows by finding."""
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("DELETE FROM lane WHERE queue NOT IN (SELECT id FROM queue)")
    mended = {name: connection.execute(step).rowcount for name, step in _STEPS.items()}
    connection.execute("DELETE FROM bundle WHERE jobs = 0")
    connection.execute("DELETE FROM environment WHERE jobs = 0")
    mended[_COUNTS] = _recount(connection)
    connection.execute(schema.MARK_REPAIRED)
    connection.execute(end)
    return {name: rows for name, rows in mended.items() if rows}


def _recount(connection: sqlite3.Connection) -> int:
    """Recount all jobs; return how many counts were wrong."""
    before = set(connection.execute(_READ_COUNTS))
    connection.execute("DELETE FROM count")
    connection.execute(_TAKE_COUNTS)
    return len({row[:4] for row in before ^ set(connection.execute(_READ_COUNTS))})
