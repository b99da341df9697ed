"""What a durable write costs without us: one row into a bare SQLite file with the pragmas that our store has."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

PRAGMAS = ("journal_mode = WAL", "synchronous = FULL", "wal_autocheckpoint = 0", "cache_size = -16384")
TABLE = "CREATE TABLE job (id INTEGER PRIMARY KEY, command TEXT, state TEXT, created INTEGER)"
INSERT = "INSERT INTO job (command, state, created) VALUES (?, 'pending', 0)"


@contextmanager
def bare_store() -> Iterator[Callable[[str], object]]:
    """A function that stores a command and returns when it is on disk. On the disk that the arenas are on."""
    with TemporaryDirectory(prefix="qb", dir="/tmp") as folder:
        path = Path(folder, "bare.db")
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            for pragma in PRAGMAS:
                connection.execute(f"PRAGMA {pragma}").fetchall()
            connection.execute(TABLE)

            def insert(command: str) -> None:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute(INSERT, (command,))
                connection.execute("COMMIT")

            yield insert
