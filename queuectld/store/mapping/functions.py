"""Functions of ours inside SQL: what SQLite cannot read of a row by itself. Pure, a row at a time."""

import shlex
import sqlite3

from queuectld.store.mapping.rows import pack, read_command


def register(connection: sqlite3.Connection) -> None:
    """Make the functions known to a connection."""
    connection.create_function("command_text", 2, command_text, deterministic=True)
    connection.create_function("command_packed", 2, command_packed, deterministic=True)


def command_text(command: str | bytes | None, argv: bytes | None) -> str | None:
    """A command (or a folder, without an argv) as it is typed: an argv quoted, bytes that are no text as `\\xff`."""
    if command is None and argv is None:
        return None
    read = read_command(command, argv)
    text = read if isinstance(read, str) else shlex.join(read)
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def command_packed(command: str | bytes | None, argv: bytes | None) -> bytes:
    """A command as MessagePack: text, or a list of texts."""
    read = read_command(command, argv)
    return pack(read if isinstance(read, str) else list(read))
