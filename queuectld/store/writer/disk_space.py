"""Checks that the disk has space for a commit and for what its checkpoint will add to the store's file.

SQLite only needs space in the log to commit. If the log took the last of the disk, its pages could never be moved into
the file, and nothing could be stored any more, not even the removal of jobs.
"""

import os
import sqlite3
from pathlib import Path
from typing import Final

PLENTY_BYTES: Final = 64 * 1024 * 1024
"""With this much free space nothing is computed: more than the log between two checkpoints, twice over."""
KEPT_BYTES: Final = 32 * 1024
"""Reserved for commits that do not grow the file: a removal, an outcome, the end of the daemon."""


class DiskFull(sqlite3.OperationalError):
    """Like SQLite's own error, raised before the disk is full."""

    sqlite_errorcode = sqlite3.SQLITE_FULL
    sqlite_errorname = "SQLITE_FULL"


class DiskSpace:
    """Checks free space before each commit; with plenty of it, at the cost of one statvfs(2)."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection
        self._page_bytes: int = connection.execute("PRAGMA page_size").fetchone()[0]
        self._is_scarce = True
        self._pages = 0
        self.checkpoint_due = False
        """Whether to checkpoint now, while there is space for it."""

    def begin(self) -> None:
        """Note the size of the store at the start of a transaction."""
        if self._is_scarce:
            self._pages = self._page_count()

    def check(self) -> None:
        """Check before a commit. Raises DiskFull if the transaction grows the store and would fill the disk."""
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
