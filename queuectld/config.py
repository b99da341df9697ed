"""The daemon's settings file, queuectl.toml: settings that are needed before the store is open.

All other settings are in the store (`queuectl config`).
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from queuectl_client.plainfile import read_plain
from queuectl_client.protocol.spelling import hint

MOST_BYTES: Final = 65_536
LEVELS: Final = ("debug", "info", "warning", "error")


class SettingsRefused(Exception):
    """The settings file is invalid; the message names the file and the key."""


@dataclass(frozen=True, slots=True)
class FileSettings:
    """The values of the settings file. `socket` is None for the default path."""

    log_level: str = "info"
    socket: Path | None = None
    max_connections: int = 1000
    """Maximum number of connected clients; further ones get the error `busy`."""


def read_settings(path: Path) -> FileSettings:
    """Read the settings in `path`, or return the defaults if there is no such file.

    Raises SettingsRefused for invalid TOML, an unknown key (the message suggests the nearest one) or a bad value.
    """
    try:
        found = tomllib.loads(_text(path))
    except FileNotFoundError:
        return FileSettings()
    except OSError as error:
        raise SettingsRefused(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise SettingsRefused(f"{path}: {error}") from error
    try:
        return _checked(found)
    except ValueError as error:
        raise SettingsRefused(f"{path}: {error}") from error


def _text(path: Path) -> str:
    data = read_plain(os.path.realpath(path), MOST_BYTES + 1)  # follow links: configuration files are often linked
    if len(data) > MOST_BYTES:
        raise ValueError(f"longer than {MOST_BYTES:,} bytes")
    return data.decode("utf-8")


def _checked(found: Mapping[str, Any]) -> FileSettings:
    known = ("log_level", "socket", "max_connections")
    for key in found:
        if key not in known:
            raise ValueError(f"unknown key {key}{hint(key, known, otherwise=f'known: {known}')}")
    level = found.get("log_level", "info")
    if level not in LEVELS:
        raise ValueError(f"invalid log_level: {level!r}; use one of {', '.join(LEVELS)}")
    socket = found.get("socket")
    if socket is not None and not (isinstance(socket, str) and socket.startswith("/") and "\0" not in socket):
        raise ValueError(f"invalid socket: {socket!r}; use an absolute path")
    limit = found.get("max_connections", 1000)
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= 100_000:
        raise ValueError(f"invalid max_connections: {limit!r}; use a whole number from 1 to 100000")
    return FileSettings(level, Path(socket) if socket is not None else None, limit)
