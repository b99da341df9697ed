"""Returning memory to the system after much work."""

import ctypes
import sqlite3


def free(connection: sqlite3.Connection) -> None:
    """Return what SQLite keeps for this connection and what the C library keeps for the process.

    Both would use it again, but a daemon that is idle from now on would keep it for ever. Takes milliseconds.
    """
    connection.execute("PRAGMA shrink_memory").fetchall()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # a function of glibc
    if trim is not None:
        trim(0)
