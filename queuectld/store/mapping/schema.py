"""The schema and migrations between its versions.

New and migrated stores have the same schema; a migration is one transaction after a backup.
"""

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from peewee import SchemaManager

from queuectld.store.mapping import files
from queuectld.store.mapping.migrations import MIGRATIONS, Step
from queuectld.store.mapping.models import TABLES
from queuectld.store.records import StoreRefused

REPAIRED: Final = "mended"
MARK_REPAIRED: Final = f"INSERT OR REPLACE INTO meta (key, value) VALUES ('{REPAIRED}', '1')"
"""Marks a store that needs no `repair.repair_once`."""
SMALL_STORE_BYTES: Final = 4 * 1024 * 1024
"""Up to this size the whole store is checked before it is opened for writing (about 20 ms)."""


def ddl() -> list[str]:
    """Return the statements that create an empty store of this version, in order."""
    lines: list[str] = []
    for model in TABLES:
        maker: Any = SchemaManager(model)
        lines.append(maker._create_table(safe=False).query()[0])
        lines.extend(index.query()[0] for index in maker._create_indexes(safe=False))
    lines.append("INSERT INTO queue (id, name, paused, failures) VALUES (1, 'default', 0, 0)")
    lines.append(MARK_REPAIRED)
    return lines


def definitions(connection: sqlite3.Connection) -> dict[str, str]:
    """Return the definition of every table and index of a store, by name."""
    rows = connection.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'")
    return dict(rows.fetchall())


def prepare(path: Path, steps: Mapping[int, Step] = MIGRATIONS, version: int = files.SCHEMA_VERSION) -> None:
    """Create a store of this version at `path`, or migrate an older one after a backup.

    Raises StoreRefused, naming the file and what to do, and leaves the file as it was.
    """
    files.make_folder(path)
    if files.read_version(path) is None:
        files.create(path, ddl())
        return
    found = _probe(path)
    files.refuse_newer(path, found)
    if found < version:
        _migrate(path, found, steps, version)


def _probe(path: Path) -> int:
    """Check a store on a read-only connection; return its version."""
    try:
        connection = sqlite3.connect(files.read_only(path), uri=True, isolation_level=None)
        try:
            names = definitions(connection)
            if "job" not in names or "event" not in names:
                raise StoreRefused(f"the store {path} lacks its tables; it was left unchanged; {files.ADVICE}")
            if path.stat().st_size <= SMALL_STORE_BYTES:
                _refuse_damaged(path, [row[0] for row in connection.execute("PRAGMA quick_check(1)")])
            found: int = connection.execute("PRAGMA user_version").fetchone()[0]
            return found
        finally:
            connection.close()
    except sqlite3.OperationalError as error:
        raise StoreRefused(f"cannot open the store {path}: {error}") from error
    except sqlite3.DatabaseError as error:
        raise StoreRefused(f"the store {path} is damaged: {error}; it was left unchanged; {files.ADVICE}") from error


def _refuse_damaged(path: Path, findings: list[str]) -> None:
    if findings != ["ok"]:
        raise StoreRefused(f"the store {path} is damaged: {findings[0]}; it was left unchanged; {files.ADVICE}")


def _migrate(path: Path, found: int, steps: Mapping[int, Step], version: int) -> None:
    """Run all steps in one transaction; killed in the middle, the store is unchanged."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        backup = files.backup_path(path, f"v{found}")
        files.copy(connection, backup)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA secure_delete = FAST").fetchall()
        files.enable_auto_vacuum(connection)
        connection.execute("BEGIN IMMEDIATE")
        for step in range(found, version):
            steps[step](connection)
        connection.execute(f"PRAGMA user_version = {version}")
        connection.execute("COMMIT")
        # Checkpoint at once: an older queuectl reads only the header.
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except (KeyError, OSError, sqlite3.Error) as error:
        raise StoreRefused(f"cannot migrate the store {path} of version {found}: {error!r}") from error
    finally:
        connection.close()
