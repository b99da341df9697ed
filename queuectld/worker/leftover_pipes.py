"""Pipes that leftover processes still write to: read and discarded, so that those processes get no SIGPIPE.

Each takes a descriptor while its other end is open. Above a limit, the worker forks a child that takes over all of them
and exits when the last one is closed.
"""

from __future__ import annotations

import os
import resource
import select
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from queuectld.worker.loop import Loop

MOST_HELD: Final = 16
"""How many a worker reads itself; at most a quarter of its descriptors."""
DISCARD_BYTES: Final = 1024 * 1024


class LeftoverPipes:
    """The reading ends. `forked(pid)` is called for every child; `log` gets a line if fork fails."""

    def __init__(self, loop: Loop, *, forked: Callable[[int], None], log: Callable[[str], None]) -> None:
        self._loop = loop
        self._forked = forked
        self._log = log
        self._held: list[int] = []
        self._null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        self._complained = False

    def take(self, pipe: int) -> None:
        """Take over this reading end."""
        if len(self._held) >= min(MOST_HELD, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4):
            self.hand_over()
        self._held.append(pipe)
        self._loop.watch(pipe, lambda _events: self._drop(pipe))

    def hand_over(self) -> None:
        """Fork a child that reads all of them. If fork fails, they stay here."""
        if not self._held:
            return
        try:
            # Without exec, as the package may have been replaced or removed. This process has one thread.
            pid = os.fork()
        except OSError as error:
            if not self._complained:
                self._log(f"cannot fork a reader for leftover pipes: {error.strerror}; retrying later")
            self._complained = True
            return
        if pid == 0:
            _drop_all(self._held, self._null)
        self._forked(pid)
        for pipe in self._held:
            self._loop.unwatch(pipe)
            os.close(pipe)
        self._held.clear()

    def _drop(self, pipe: int) -> None:
        if not _dropped(pipe, self._null):
            self._loop.unwatch(pipe)
            self._held.remove(pipe)
            os.close(pipe)


def _dropped(pipe: int, null: int) -> bool:
    """Discard what is in the pipe. False at its end."""
    try:
        return os.splice(pipe, null, DISCARD_BYTES) > 0
    except BlockingIOError:
        return True


def _drop_all(pipes: list[int], null: int) -> None:
    """In the child: discard until all pipes are at their end. Does not return."""
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        for standard in (1, 2):
            os.dup2(null, standard)
        begin = 3
        for kept in sorted({*pipes, null}):
            os.closerange(begin, kept)
            begin = kept + 1
        os.closerange(begin, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        poll = select.poll()
        for pipe in pipes:
            poll.register(pipe, select.POLLIN)
        left = set(pipes)
        while left:
            for pipe, _ in poll.poll():
                if not _dropped(pipe, null):
                    poll.unregister(pipe)
                    os.close(pipe)
                    left.discard(pipe)
    finally:
        os._exit(0)
