"""The store's file: looked at before SQLite opens it, created whole or not at all, copied before a migration.

It must not change a byte of a file that is not a store, or not one this version can read.
"""

import contextlib
import errno
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from queuectl_client.plainfile import read_plain
from queuectld.store.mapping.migrations import MIGRATIONS
from queuectld.store.records import StoreRefused

T = TypeVar("T")
APPLICATION_ID: Final = 0x5143544C
"""`QCTL`, at offset 68 of the file (https://www.sqlite.org/fileformat.html#application_id)."""
SCHEMA_VERSION: Final = max(MIGRATIONS) + 1
"""`user_version`, at offset 60. Each step up has a migration."""
MAGIC: Final = b"SQLite format 3\x00"
HEADER_BYTES: Final = 100
INCREMENTAL: Final = 2
"""What `PRAGMA auto_vacuum` says of a file that can shrink in slices."""
MIN_FREE_BYTES: Final = 64 * 1024
"""Less than this, and not even a few commits fit."""
ADVICE: Final = "`queuectl doctor` tells more; to begin with an empty store, move the file away"


def read_version(path: Path) -> int | None:
    """The schema version in the file's header; None where there is no file.

    Raises StoreRefused, naming the file, when it is not a whole store that this version can read.
    """
    try:
        header = read_plain(os.path.realpath(path), HEADER_BYTES)
        size = path.stat().st_size
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreRefused(f"The store {path} cannot be read: {error.strerror}.") from error
    if not size:
        raise StoreRefused(f"The store {path} is an empty file. It was left as it is; {ADVICE}.")
    if len(header) < HEADER_BYTES or not header.startswith(MAGIC):
        raise StoreRefused(f"The store {path} is damaged or not a database. It was left as it is; {ADVICE}.")
    if _number(header, 68) != APPLICATION_ID:
        raise StoreRefused(f"The file {path} is a database of another program. It was left as it is; {ADVICE}.")
    refuse_newer(path, _number(header, 60))
    _refuse_truncated(path, header, size)
    return _number(header, 60)


def read_only(path: Path) -> str:
    """A URI to look at a store without a change to it or beside it.

    Where no log is, nobody has the store open: SQLite is told so (`immutable`), or it would begin a log to read it.
    """
    only = "mode=ro" if path.with_name(path.name + "-wal").exists() else "mode=ro&immutable=1"
    return f"{path.absolute().as_uri()}?{only}"


def refuse_newer(path: Path, version: int) -> None:
    """Raise StoreRefused when a newer queuectl wrote the store."""
    if version > SCHEMA_VERSION:
        raise StoreRefused(
            f"The store {path} has schema version {version}; this queuectl reads up to version {SCHEMA_VERSION}."
            " It was left as it is; upgrade queuectl."
        )


def _refuse_truncated(path: Path, header: bytes, size: int) -> None:
    """With a log beside it, the file may still grow to the size its header names: a checkpoint was cut short."""
    log = path.with_name(path.name + "-wal")
    if log.exists() and log.stat().st_size:
        return
    page_bytes = int.from_bytes(header[16:18], "big")
    wanted = _number(header, 28) * (65536 if page_bytes == 1 else page_bytes)
    if size < wanted:
        raise StoreRefused(
            f"The store {path} is cut short: {size} of {wanted} bytes are there. It was left as it is; {ADVICE}."
        )


def _number(header: bytes, offset: int) -> int:
    return int.from_bytes(header[offset : offset + 4], "big")


def make_folder(path: Path) -> None:
    """Let the folder of the store exist, readable by its owner alone."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreRefused(f"The folder {path.parent} cannot be made: {error.strerror}.") from error


def create(path: Path, schema: list[str]) -> None:
    """Let a store with this schema and no rows stand at `path`; after a kill at any moment it is whole or not there.

    The version is set before WAL mode is switched on: what stands in the log alone is not in the header.
    """
    draft = path.with_name(path.name + ".new")
    try:
        for leftover in (draft, *(draft.with_name(draft.name + end) for end in ("-journal", "-wal", "-shm"))):
            with contextlib.suppress(FileNotFoundError):
                leftover.unlink()
        os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        _fill(draft, schema)
        os.rename(draft, path)
        sync_folder(path.parent)
    except (OSError, sqlite3.Error) as error:
        raise StoreRefused(f"The store {path} cannot be made: {error}.") from error


def _fill(draft: Path, schema: list[str]) -> None:
    connection = sqlite3.connect(draft, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous = EXTRA")
        # Can be set only before there is a table: the file then shrinks when asked to, in slices (see housekeeping).
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        for line in schema:
            connection.execute(line)
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = WAL")
    finally:
        connection.close()


def enable_auto_vacuum(connection: sqlite3.Connection) -> None:
    """Write the file anew, once, in the form that gives space back in slices (`PRAGMA incremental_vacuum`).

    It needs as much room again. Where there is none, the store works as it is, and keeps its free pages for new jobs.
    """
    if connection.execute("PRAGMA auto_vacuum").fetchone()[0] == INCREMENTAL:
        return
    try:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("VACUUM")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
            raise


def copy(source: sqlite3.Connection, target: Path) -> None:
    """Let `target` be a whole copy of the open store, on disk, readable by its owner alone. Never over another file."""
    descriptor = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        into = sqlite3.connect(target)
        try:
            source.backup(into)
        finally:
            into.close()
        os.fsync(descriptor)
    except BaseException:
        target.unlink()
        raise
    finally:
        os.close(descriptor)
    sync_folder(target.parent)


def backup_path(path: Path, what: str) -> Path:
    """Where a copy of the store goes; one of an earlier try is kept too, because nobody knows which was whole."""
    number = 1
    while (backup := path.with_name(f"{path.name}.{what}-{number}.backup")).exists():
        number += 1
    return backup


def copy_of(path: Path, target: Path) -> None:
    """Let `target` be a whole copy of a store that may be in use."""
    connection = sqlite3.connect(read_only(path), uri=True)
    try:
        copy(connection, target)
    finally:
        connection.close()


class FileIdentity:
    """Which files a store is made of, so that it is noticed when they are removed or replaced under its daemon."""

    def __init__(self, path: Path) -> None:
        self._paths = (str(path), f"{path}-wal")
        self._known: dict[str, tuple[int, int]] = {}

    def changed_path(self) -> str | None:
        """The path at which the file of the first call no longer lies. None: all are where they were."""
        for path in self._paths:
            try:
                found = os.stat(path)
            except OSError:
                return path
            which = (found.st_dev, found.st_ino)
            if self._known.setdefault(path, which) != which:
                return path
        return None


def is_disk_full(folder: Path) -> bool:
    """Whether the disk, or the user's share of it, is used up.

    SQLite tells a full disk (ENOSPC) apart, but calls a used-up quota (EDQUOT) an I/O error.
    """
    try:
        descriptor = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, MIN_FREE_BYTES)
        finally:
            os.close(descriptor)
    except OSError as error:
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return False


def refuse_on_error(path: Path, opening: Callable[[], T]) -> T:
    """Do what opens the store; what SQLite then says, or Python of a thread, is a refusal that names the file."""
    try:
        return opening()
    except (sqlite3.Error, RuntimeError) as error:
        raise StoreRefused(f"The store {path} cannot be opened: {error}.") from error


def sync_folder(folder: Path) -> None:
    """Make the names in a folder as durable as the files."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
