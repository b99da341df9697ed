"""Whether the disk has room for a commit, and for what its checkpoint will add to the store's file.

SQLite finds room for a commit in the log alone. Were the log to take the last of the disk, its pages could never be
moved into the file, and nothing could be stored any more: not even that jobs were removed.
"""

import os
import sqlite3
from pathlib import Path
from typing import Final

PLENTY_BYTES: Final = 64 * 1024 * 1024
"""With so much free nothing is reckoned: more than the log holds between two checkpoints, and its pages in the file."""
KEPT_BYTES: Final = 32 * 1024
"""Left for what makes no file longer: a removal, a result, the end of the daemon."""


class DiskFull(sqlite3.OperationalError):
    """As SQLite's own, before the disk is full."""

    sqlite_errorcode = sqlite3.SQLITE_FULL
    sqlite_errorname = "SQLITE_FULL"


class DiskSpace:
    """Looked at before each commit; where there is plenty, that is one statvfs(2)."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection
        self._page_bytes: int = connection.execute("PRAGMA page_size").fetchone()[0]
        self._is_scarce = True
        self._pages = 0
        self.checkpoint_due = False
        """Whether the log is to be moved into the file now, while there is room for that."""

    def begin(self) -> None:
        """A transaction has begun."""
        if self._is_scarce:
            self._pages = self._page_count()

    def check(self) -> None:
        """Before it is committed. Raises DiskFull when the store grows by it, and would fill the disk."""
        free = self._free()
        was_scarce, self._is_scarce = self._is_scarce, free < PLENTY_BYTES
        if not self._is_scarce:
            self.checkpoint_due = False
            return
        pages = self._page_count()
        added = self._page_bytes * (pages - self._pages) if was_scarce else 0
        to_move = max(0, self._page_bytes * pages - os.stat(self._path).st_size)
        if added > 0 and free < to_move + added + KEPT_BYTES:
            raise DiskFull("database or disk is full")
        self.checkpoint_due = to_move * 4 > free

    def _page_count(self) -> int:
        count: int = self._connection.execute("PRAGMA page_count").fetchone()[0]
        return count

    def _free(self) -> int:
        try:
            found = os.statvfs(self._path.parent)
        except OSError:
            return PLENTY_BYTES
        return found.f_bavail * found.f_frsize
