"""SQL functions for values that SQLite cannot decode itself. Deterministic."""

import shlex
import sqlite3

from queuectld.store.mapping.rows import pack, read_command


def register(connection: sqlite3.Connection) -> None:
    """Register the functions on a connection."""
    connection.create_function("command_text", 2, command_text, deterministic=True)
    connection.create_function("command_packed", 2, command_packed, deterministic=True)


def command_text(command: str | bytes | None, argv: bytes | None) -> str | None:
    """Return a command (or a folder) as shell text: an argv quoted, undecodable bytes as `\\xff`."""
    if command is None and argv is None:
        return None
    read = read_command(command, argv)
    text = read if isinstance(read, str) else shlex.join(read)
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def command_packed(command: str | bytes | None, argv: bytes | None) -> bytes:
    """Return a command as MessagePack: a string or a list of strings."""
    read = read_command(command, argv)
    return pack(read if isinstance(read, str) else list(read))
