"""Notices without polling that the socket's file was removed, or that somebody asks to look.

inotify(7) through ctypes: the standard library has no binding. A user has few instances of it (128), which editors and
the like may use up; then the owner looks for itself now and then, until there is one.
"""

import asyncio
import ctypes
import errno
import logging
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

FIRST_CHECK_S: Final = 1.0
LAST_CHECK_S: Final = 15.0
"""Where nothing tells of changes, the gaps between two looks grow from the first to the last."""

log = logging.getLogger(__name__)


class FileWatch:
    """Calls `changed` on the loop after something happened to one of the files watched.

    Events are not told apart: the callee looks for itself, which is right whatever was lost or merged.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, changed: Callable[[], None]) -> None:
        self._loop = loop
        self._changed = changed
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = -1
        self._paths: set[Path] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._delay_s = FIRST_CHECK_S

    @property
    def has_inotify(self) -> bool:
        """Whether the kernel tells of changes, rather than a look now and then."""
        return self._timer is None

    def add(self, path: Path) -> None:
        """Watch this file or folder itself, nothing below it; the one that is there now."""
        self._paths.add(path)
        if self._timer is None and (why := self._watch([path])):
            log.warning("no notice of changes to %s can be had (%s); it is looked at now and then", path, why)
            self._check_later()

    def close(self) -> None:
        """Watch nothing any longer."""
        if self._timer is not None:
            self._timer.cancel()
        self._drop()

    def _watch(self, paths: list[Path]) -> str:
        """Have the kernel tell of these; or why it will not, in words. What is not there is not watched."""
        if not hasattr(self._libc, "inotify_init1"):
            return "this system has no inotify"
        if self._descriptor < 0:
            self._descriptor = self._libc.inotify_init1(IN_NONBLOCK | IN_CLOEXEC)
            if self._descriptor < 0:
                return os.strerror(ctypes.get_errno())
            self._loop.add_reader(self._descriptor, self._drain)
        for path in paths:
            mask = IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF
            if self._libc.inotify_add_watch(self._descriptor, os.fsencode(path), mask) < 0:
                error = ctypes.get_errno()
                if error not in (errno.ENOENT, errno.ENOTDIR):
                    return os.strerror(error)
        return ""

    def _drop(self) -> None:
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _check_later(self) -> None:
        # Half a watch would only hold what others are short of.
        self._drop()
        self._timer = self._loop.call_later(self._delay_s, self._check_now)
        self._delay_s = min(self._delay_s * 2, LAST_CHECK_S)

    def _check_now(self) -> None:
        self._changed()
        if self._watch(list(self._paths)):
            self._check_later()
            return
        self._timer = None
        self._delay_s = FIRST_CHECK_S
        log.info("changes to %s are told of again", ", ".join(map(str, sorted(self._paths))))
        self._changed()  # what came between the look and the watch

    def _drain(self) -> None:
        try:
            while os.read(self._descriptor, EVENT_BYTES):
                pass
        except BlockingIOError:
            self._changed()
