"""What each error of SQLite means for the store: https://www.sqlite.org/rescode.html.

The one place that knows result codes. An extended code that is not listed means what its primary code (`& 0xFF`) does.
"""

import errno
import os
import sqlite3
from collections.abc import Mapping
from enum import Enum, auto
from pathlib import Path
from types import MappingProxyType
from typing import Final

from queuectl_client.protocol.vocabulary import ErrorCode
from queuectld.domain.errors import Refused
from queuectld.store.mapping.files import is_disk_full

NOTHING: Final = "nothing was stored"


class Meaning(Enum):
    """What an error means for the transaction it occurred in."""

    FULL = auto()
    """The disk is full. Nothing was stored; it passes."""
    LOCKED = auto()
    """Another program has locked the store, for longer than SQLite waits. Nothing was stored; it passes."""
    SHORTAGE = auto()
    """The system is out of memory or descriptors. Nothing was stored; it passes."""
    FATAL = auto()
    """The file cannot be trusted any more. Not retried: a failed fsync may have lost pages, which a second fsync would
    report as written."""
    REQUEST = auto()
    """An error of one request: a constraint, or a bug."""


MEANINGS: Final[Mapping[int, Meaning]] = MappingProxyType({
    sqlite3.SQLITE_FULL: Meaning.FULL,
    sqlite3.SQLITE_IOERR_SHMSIZE: Meaning.FULL,
    # With BUSY_RECOVERY, BUSY_SNAPSHOT, BUSY_TIMEOUT and LOCKED_SHAREDCACHE.
    sqlite3.SQLITE_BUSY: Meaning.LOCKED,
    sqlite3.SQLITE_LOCKED: Meaning.LOCKED,
    # "locking protocol": others held the locks of the log in turn, for the 10 s that SQLite tries.
    sqlite3.SQLITE_PROTOCOL: Meaning.LOCKED,
    sqlite3.SQLITE_IOERR_BLOCKED: Meaning.LOCKED,
    sqlite3.SQLITE_NOMEM: Meaning.SHORTAGE,
    sqlite3.SQLITE_IOERR_NOMEM: Meaning.SHORTAGE,
    # All others of IOERR, and READONLY_RECOVERY, CORRUPT_INDEX and so on.
    sqlite3.SQLITE_IOERR: Meaning.FATAL,
    sqlite3.SQLITE_CORRUPT: Meaning.FATAL,
    sqlite3.SQLITE_NOTADB: Meaning.FATAL,
    sqlite3.SQLITE_READONLY: Meaning.FATAL,
    sqlite3.SQLITE_PERM: Meaning.FATAL,
    sqlite3.SQLITE_AUTH: Meaning.FATAL,
    sqlite3.SQLITE_NOLFS: Meaning.FATAL,
    # Unless no descriptor is left: see `meaning_of`.
    sqlite3.SQLITE_CANTOPEN: Meaning.FATAL,
})  # fmt: skip
"""By result code. One that is not listed concerns a single request."""


def code_of(error: BaseException) -> int:
    """Return the extended result code; 0 for an error that is not SQLite's."""
    # The sqlite3 module raises MemoryError for SQLITE_NOMEM.
    return sqlite3.SQLITE_NOMEM if isinstance(error, MemoryError) else getattr(error, "sqlite_errorcode", 0)


def meaning_of(error: BaseException, path: Path) -> Meaning:
    """Return what the error of a statement means for the store at `path`."""
    code = code_of(error)
    if code == sqlite3.SQLITE_IOERR_WRITE and is_disk_full(path.parent):
        return Meaning.FULL  # a used-up quota (EDQUOT)
    if code & 0xFF == sqlite3.SQLITE_CANTOPEN and _is_short_of_descriptors(path.parent):
        return Meaning.SHORTAGE
    return MEANINGS.get(code, MEANINGS.get(code & 0xFF, Meaning.REQUEST))


def refusal(error: BaseException, meaning: Meaning, path: Path, consequence: str = NOTHING) -> Refused | None:
    """Return the refusal of a call that may be tried again later; None for an error that does not pass."""
    match meaning:
        case Meaning.FULL:
            return Refused(ErrorCode.NO_SPACE, f"the disk of the store {path} is full; {consequence}")
        case Meaning.LOCKED:
            return Refused(ErrorCode.BUSY, f"another program has locked the store {path}; {consequence}")
        case Meaning.SHORTAGE:
            lacks = "memory" if code_of(error) & 0xFF != sqlite3.SQLITE_CANTOPEN else "file descriptors"
            return Refused(ErrorCode.BUSY, f"the system has no {lacks} left for the store {path}; {consequence}")
    return None


def _is_short_of_descriptors(folder: Path) -> bool:
    # SQLITE_CANTOPEN does not tell why open(2) failed.
    try:
        os.close(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    except OSError as error:
        return error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
    return False
