"""The steps from one schema version to the next. Each is a function of the open transaction, and of that alone.

How to write the next one:

1. Write a golden store with the code as it is now, if there is none of its version: `python -m
   tests.compat.make_golden_store`. Check it in before anything else changes.
2. Change the models. A new column stands last in its model, where ALTER TABLE puts it.
3. Write `to_version_N` here and enter it in `MIGRATIONS`, which raises the version. Spell tables, indexes, words and
   rules out as they are in that version, literally: models and vocabulary go on changing. Fresh and migrated stores
   must have the same (`schema.definitions`): a column that is not null needs the default of its ALTER TABLE in the
   model too. `_give_reasons_codes` is an example of a column with a CHECK, `_count_environments` of a new table.
4. Do the work in SQL, one statement a table: a store may have millions of rows. No VACUUM, no COMMIT: all steps are one
   transaction. Whatever an old row may hold, the step must not fail: the daemon would not start.
5. Test it in `tests/store/test_migrations.py` on the golden stores of the versions before, with rows of each kind that
   it changes. Make the golden store of the new version once its schema is final, and never again after its release;
   `tests/compat/test_golden_stores.py` tries all of them.
"""

import sqlite3
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

Step = Callable[[sqlite3.Connection], None]


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


def to_version_3(connection: sqlite3.Connection) -> None:
    """What version 3 adds."""
    for table in ("job", "attempt"):
        _give_reasons_codes(connection, table)


_HAS_CODE: Final = "(reason IS NULL) = (reason_code IS NULL) AND (reason IS NULL OR instr(reason, reason_code) = 1)"
_CODES: Final = (
    "exit", "signal", "timeout", "stalled", "cannot-start", "crash-limit", "interrupted", "cancelled", "dependency",
    "crashed",
)  # fmt: skip
_KNOWN: Final = " ".join(f"WHEN reason GLOB '{code}*' THEN '{code}'" for code in _CODES)
_CODE: Final = f"CASE {_KNOWN} END"


def _give_reasons_codes(connection: sqlite3.Connection, table: str) -> None:
    """A reason has its first word as its code. Words that no queuectl is known to have written get one before them."""
    # The column is checked from its beginning, which the rows that are there cannot bear before they are filled in.
    connection.execute("PRAGMA ignore_check_constraints = ON")
    connection.execute(f'ALTER TABLE "{table}" ADD COLUMN "reason_code" TEXT CHECK ({_HAS_CODE})')
    connection.execute("PRAGMA ignore_check_constraints = OFF")
    connection.execute(
        f"UPDATE {table} SET reason_code = coalesce({_CODE}, 'exit'),"
        f" reason = iif({_CODE} IS NULL, 'exit: ' || reason, reason) WHERE reason IS NOT NULL"
    )


MIGRATIONS: Final[Mapping[int, Step]] = MappingProxyType({1: to_version_2, 2: to_version_3})
"""By version: the step from it to the next one. Version 1 is the first."""
