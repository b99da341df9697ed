"""The steps from one schema version to the next. Each is a function of the open transaction, and of that alone.

How to write the next one:

1. Write a golden store with the code as it is now, if there is none of its version: `python -m
   tests.compat.make_golden_store`. Check it in before anything else changes.
2. Change the models; raise `files.SCHEMA_VERSION`.
3. Write `to_version_N` here and enter it in `schema.MIGRATIONS`. Spell tables and indexes out as they are in that
   version, literally: the models go on changing. Fresh and migrated stores must have the same (`schema.described`).
4. Do the work in SQL: a store may have millions of rows. No VACUUM, no COMMIT: all steps are one transaction.
5. Make the golden store of the new version when it is released. `tests/compat/test_golden_stores.py` tries all of them.
"""

import sqlite3


def to_version_2(connection: sqlite3.Connection) -> None:
    """What version 2 adds."""
    _count_environments(connection)


def _count_environments(connection: sqlite3.Connection) -> None:
    """Each environment counts its jobs, and its number is never used again; those without a job go."""
    connection.execute("DROP INDEX environment_digest")
    connection.execute("ALTER TABLE environment RENAME TO environment_1")
    connection.execute(
        'CREATE TABLE "environment" ("id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, "digest" BLOB NOT NULL,'
        ' "jobs" INTEGER NOT NULL, "body" BLOB NOT NULL, CHECK (jobs >= 0)) STRICT'
    )
    connection.execute('CREATE UNIQUE INDEX "environment_digest" ON "environment" ("digest")')
    connection.execute(
        "INSERT INTO environment (id, digest, jobs, body) SELECT e.id, e.digest, n, e.body FROM environment_1 AS e"
        " JOIN (SELECT environment AS id, count(*) AS n FROM job GROUP BY environment) USING (id) ORDER BY e.id"
    )
    connection.execute("DROP TABLE environment_1")
