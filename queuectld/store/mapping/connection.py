"""Opening connections to the store. One writes and checkpoints; the others only read."""

import sqlite3
from pathlib import Path
from typing import Final

from queuectld.store.mapping import files, functions

BUSY_MS: Final = 5_000
"""How long a write waits for another program's lock before it fails with SQLITE_BUSY."""
LOG_LIMIT_BYTES: Final = 8 * 1024 * 1024
"""Size to which the write-ahead log is truncated when it begins anew: a larger file then means a larger log."""


def open_writer(path: Path) -> sqlite3.Connection:
    """Open the one connection that writes. An acknowledged commit survives a power cut (synchronous=FULL)."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=512)
    _set(connection, "journal_mode", "WAL")
    _set(connection, "synchronous", "FULL")
    # The writer checkpoints explicitly, after it has answered, and handles errors:
    # SQLite's own checkpoint swallows a failed fsync, and a second fsync would then call lost pages written.
    _set(connection, "wal_autocheckpoint", "0")
    _set(connection, "journal_size_limit", str(LOG_LIMIT_BYTES))
    _set(connection, "cache_size", "-16384")
    _set(connection, "temp_store", "MEMORY")
    # Deleted data is overwritten in pages that are written anyway; free pages are given back to the disk soon
    # (`housekeeping.give_back`).
    _set(connection, "secure_delete", "FAST")
    _harden(connection)
    return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """Open a read-only connection; it sees committed data."""
    uri = f"{path.absolute().as_uri()}?mode=ro"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, cached_statements=256)
    _set(connection, "query_only", "ON")
    _set(connection, "cache_size", "-4096")
    functions.register(connection)
    _harden(connection)
    return connection


def open_onlooker(path: Path) -> sqlite3.Connection:
    """Open a connection for other processes, with or without a daemon: it creates no files beside the store."""
    connection = sqlite3.connect(files.read_only(path), uri=True, isolation_level=None)
    _harden(connection)
    return connection


def _harden(connection: sqlite3.Connection) -> None:
    _set(connection, "trusted_schema", "OFF")
    _set(connection, "busy_timeout", str(BUSY_MS))


def _set(connection: sqlite3.Connection, pragma: str, value: str) -> None:
    connection.execute(f"PRAGMA {pragma} = {value}").fetchall()
