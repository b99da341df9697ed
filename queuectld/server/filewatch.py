"""Watches files for removal and attribute changes, without polling.

Uses inotify(7) through ctypes, as the standard library has no binding. A user has few instances (128), which other
programs may use up; then the callback is called at growing intervals until there is one.
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
"""Also reported when the last link to a bound socket is removed."""
IN_DELETE_SELF: Final = 0x00000400
IN_MOVE_SELF: Final = 0x00000800
IN_NONBLOCK: Final = os.O_NONBLOCK
IN_CLOEXEC: Final = os.O_CLOEXEC
EVENT_BYTES: Final = 4096

FIRST_CHECK_S: Final = 1.0
LAST_CHECK_S: Final = 15.0
"""Without inotify, the interval between checks grows from the first to the last."""

log = logging.getLogger(__name__)


class FileWatch:
    """Calls `changed` on the event loop after a change to a watched file.

    Events are not distinguished: the callback checks the files itself, which is correct even if events are lost.
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
        """Whether inotify is in use, rather than checks at intervals."""
        return self._timer is None

    def add(self, path: Path) -> None:
        """Watch this file or folder itself, not its contents."""
        self._paths.add(path)
        if self._timer is None and (why := self._watch([path])):
            log.warning("cannot watch %s for changes (%s); checking it now and then", path, why)
            self._check_later()

    def close(self) -> None:
        """Stop watching."""
        if self._timer is not None:
            self._timer.cancel()
        self._drop()

    def _watch(self, paths: list[Path]) -> str:
        """Watch these paths; missing ones are skipped. Returns an error message, or an empty string."""
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
        # Release the scarce inotify instance until all paths can be watched.
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
        log.info("watching %s for changes again", ", ".join(map(str, sorted(self._paths))))
        self._changed()  # for changes between the check and the watch

    def _drain(self) -> None:
        try:
            while os.read(self._descriptor, EVENT_BYTES):
                pass
        except BlockingIOError:
            self._changed()
