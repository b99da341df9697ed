"""The store's file: checked before SQLite opens it, created atomically, copied before a migration.

A file that is not a store, or not one that this version can read, must not be changed.
"""

import contextlib
import errno
import fcntl
import logging
import os
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from queuectl_client.plainfile import read_plain
from queuectld import failpoints
from queuectld.store.mapping.migrations import MIGRATIONS
from queuectld.store.records import StoreRefused

T = TypeVar("T")
log = logging.getLogger(__name__)
APPLICATION_ID: Final = 0x5143544C
"""`QCTL`, at offset 68 of the file (https://www.sqlite.org/fileformat.html#application_id)."""
SCHEMA_VERSION: Final = max(MIGRATIONS) + 1
"""`user_version`, at offset 60. Each step up has a migration."""
MAGIC: Final = b"SQLite format 3\x00"
HEADER_BYTES: Final = 100
INCREMENTAL: Final = 2
"""Value of `PRAGMA auto_vacuum` for a file that can shrink in slices."""
GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE})
"""Errors of stat(2) that say that there is no such file any more."""
MIN_FREE_BYTES: Final = 64 * 1024
"""Free space below which not even a few commits fit."""
DRAFT: Final = ".new"
"""Ends the name of a file that gets its own name once it is whole."""
ADVICE: Final = "`queuectl doctor` tells more; to begin with an empty store, move the file away"


def read_version(path: Path) -> int | None:
    """Return the schema version from the file's header; None if there is no file.

    Raises StoreRefused, naming the file, if it is not a complete store that this version can read.
    """
    try:
        header = read_plain(os.path.realpath(path), HEADER_BYTES)
        size = path.stat().st_size
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreRefused(f"cannot read the store {path}: {error.strerror}") from error
    if not size:
        raise StoreRefused(f"the store {path} is an empty file; it was left unchanged; {ADVICE}")
    if len(header) < HEADER_BYTES or not header.startswith(MAGIC):
        raise StoreRefused(f"the store {path} is damaged or not a database; it was left unchanged; {ADVICE}")
    if _number(header, 68) != APPLICATION_ID:
        raise StoreRefused(f"the file {path} is a database of another program; it was left unchanged; {ADVICE}")
    refuse_newer(path, _number(header, 60))
    _refuse_truncated(path, header, size)
    return _number(header, 60)


def read_only(path: Path) -> str:
    """Return a URI that opens a store without any change to it or beside it.

    Without a log nobody has the store open: `immutable` keeps SQLite from creating one to read it.
    """
    only = "mode=ro" if path.with_name(path.name + "-wal").exists() else "mode=ro&immutable=1"
    return f"{path.absolute().as_uri()}?{only}"


def refuse_newer(path: Path, version: int) -> None:
    """Raise StoreRefused if a newer queuectl wrote the store."""
    if version > SCHEMA_VERSION:
        raise StoreRefused(
            f"the store {path} has schema version {version}; this queuectl reads up to version {SCHEMA_VERSION}"
            " It was left as it is; upgrade queuectl."
        )


def _refuse_truncated(path: Path, header: bytes, size: int) -> None:
    """Raise StoreRefused if the file is shorter than its header says and no log can complete it."""
    log = path.with_name(path.name + "-wal")
    if log.exists() and log.stat().st_size:
        return
    page_bytes = int.from_bytes(header[16:18], "big")
    wanted = _number(header, 28) * (65536 if page_bytes == 1 else page_bytes)
    if size < wanted:
        raise StoreRefused(
            f"the store {path} is truncated: {size} of {wanted} bytes; it was left unchanged; {ADVICE}"
        )


def _number(header: bytes, offset: int) -> int:
    return int.from_bytes(header[offset : offset + 4], "big")


def make_folder(path: Path) -> None:
    """Create the folder of the store, accessible only by its owner."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreRefused(f"cannot create the folder {path.parent}: {error.strerror}") from error


def create(path: Path, schema: list[str]) -> None:
    """Create an empty store with this schema at `path`, atomically.

    The version is set before WAL mode is switched on, or the header would not contain it yet.
    """
    draft = path.with_name(path.name + DRAFT)
    try:
        _remove(draft)
        os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        _fill(draft, schema)
        os.rename(draft, path)
        sync_folder(path.parent)
    except (OSError, sqlite3.Error) as error:
        raise StoreRefused(f"cannot create the store {path}: {error}") from error


def _remove(draft: Path) -> None:
    """Remove a draft that a killed process left behind, with what SQLite keeps beside it."""
    for leftover in (draft, *(draft.with_name(draft.name + end) for end in ("-journal", "-wal", "-shm"))):
        with contextlib.suppress(FileNotFoundError):
            leftover.unlink()


def _fill(draft: Path, schema: list[str]) -> None:
    connection = sqlite3.connect(draft, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous = EXTRA")
        # Must be set before the first table: allows incremental vacuum (see housekeeping).
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
    """Rewrite the file once so that it supports `PRAGMA incremental_vacuum`.

    Needs as much disk space again. Without it the store works as it is, and keeps its free pages for new jobs.
    """
    if connection.execute("PRAGMA auto_vacuum").fetchone()[0] == INCREMENTAL:
        return
    try:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("VACUUM")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
            raise


def copy(source: sqlite3.Connection, target: Path, *, replace: bool = False) -> None:
    """Copy the open store to `target`, synced and readable only by its owner.

    Written beside it as a draft, then renamed, so that `target` is never an incomplete copy. The draft of a killed
    process is removed. Raises FileExistsError if `target` exists and `replace` is false, or while another process
    makes the same copy.
    """
    if os.path.lexists(target) and not replace:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    draft = target.with_name(target.name + DRAFT)
    descriptor = _take_draft(draft)
    try:
        into = sqlite3.connect(draft)
        try:
            source.backup(into)
        finally:
            into.close()
        failpoints.reached("store.copied")
        os.fsync(descriptor)
        os.rename(draft, target)
    except BaseException:
        _remove(draft)
        raise
    finally:
        os.close(descriptor)
    sync_folder(target.parent)


def _take_draft(draft: Path) -> int:
    """Create the draft, locked for as long as the descriptor returned is open."""
    with contextlib.suppress(FileNotFoundError):
        _remove_leftover(draft)
    descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        _lock(descriptor, draft)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _remove_leftover(draft: Path) -> None:
    """Remove a draft that nobody writes to any more."""
    descriptor = os.open(draft, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise FileExistsError(errno.EEXIST, "is in the way of the backup, and not a regular file", str(draft))
        _lock(descriptor, draft)
        _remove(draft)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, draft: Path) -> None:
    """Lock a draft. Raises FileExistsError if another process has it, or has just removed it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_ours = os.path.samestat(os.fstat(descriptor), os.lstat(draft))
    except (BlockingIOError, FileNotFoundError):
        is_ours = False
    if not is_ours:
        raise FileExistsError(errno.EEXIST, "is being written by another backup", str(draft))


def backup_path(path: Path, what: str) -> Path:
    """Return an unused name for a copy of the store; earlier copies are kept."""
    number = 1
    while (backup := path.with_name(f"{path.name}.{what}-{number}.backup")).exists():
        number += 1
    return backup


def copy_of(path: Path, target: Path, *, replace: bool = False) -> None:
    """Copy a store that may be in use, like `copy`."""
    connection = sqlite3.connect(read_only(path), uri=True)
    try:
        copy(connection, target, replace=replace)
    finally:
        connection.close()


class FileIdentity:
    """Identity of the store's files, to notice when they are removed or replaced under the daemon."""

    def __init__(self, path: Path) -> None:
        self._paths = (str(path), f"{path}-wal")
        self._known: dict[str, tuple[int, int]] = {}
        self._complained = False
        self._stat = os.stat

    def changed_path(self) -> str | None:
        """Return the path whose file is no longer that of the first call; None: all are unchanged.

        An error of the disk says nothing about a file, which is open and has just been synced.
        """
        for path in self._paths:
            try:
                found = self._stat(path)
            except OSError as error:
                if error.errno in GONE:
                    return path
                if not self._complained:
                    log.warning("cannot check whether %s is still in its place: %s", path, error.strerror)
                self._complained = True
                continue
            which = (found.st_dev, found.st_ino)
            if self._known.setdefault(path, which) != which:
                return path
        return None


def is_disk_full(folder: Path) -> bool:
    """Whether the disk is full or the user's quota is used up.

    SQLite reports a full disk (ENOSPC) as such, but an exceeded quota (EDQUOT) as an I/O error.
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
    """Call `opening`; convert errors of SQLite and of thread starts to StoreRefused, naming the file."""
    try:
        return opening()
    except (sqlite3.Error, RuntimeError) as error:
        raise StoreRefused(f"cannot open the store {path}: {error}") from error


def sync_folder(folder: Path) -> None:
    """Sync a folder, so that the names in it are durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
