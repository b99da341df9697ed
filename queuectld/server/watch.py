"""Notices without polling that the socket's file was removed, or that somebody asks to look.

inotify(7) through ctypes: the standard library has no binding. Where it is missing nothing is watched.
"""

import asyncio
import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

IN_ATTRIB: Final = 0x00000004
"""Also told of a file that lost its last name while a socket is still bound to it."""
IN_DELETE_SELF: Final = 0x00000400
IN_MOVE_SELF: Final = 0x00000800
IN_NONBLOCK: Final = os.O_NONBLOCK
IN_CLOEXEC: Final = os.O_CLOEXEC
EVENT_BYTES: Final = 4096


class FileWatch:
    """Calls `changed` on the loop after something happened to one of the files watched.

    Events are not told apart: the callee looks for itself, which is right whatever was lost or merged.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, changed: Callable[[], None]) -> None:
        self._loop = loop
        self._changed = changed
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = -1
        if hasattr(self._libc, "inotify_init1"):
            self._descriptor = self._libc.inotify_init1(IN_NONBLOCK | IN_CLOEXEC)
        if self._descriptor >= 0:
            loop.add_reader(self._descriptor, self._drain)

    def add(self, path: Path) -> bool:
        """Watch this file or folder itself, nothing below it. False: it is not there, or cannot be watched."""
        if self._descriptor < 0:
            return False
        mask = IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF
        return bool(self._libc.inotify_add_watch(self._descriptor, os.fsencode(path), mask) >= 0)

    def close(self) -> None:
        """Watch nothing any longer."""
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _drain(self) -> None:
        try:
            while os.read(self._descriptor, EVENT_BYTES):
                pass
        except BlockingIOError:
            self._changed()
