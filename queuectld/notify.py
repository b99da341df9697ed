"""Service manager protocols: sd_notify(3), sd_watchdog_enabled(3), sd_listen_fds(3), without libsystemd.

The environment variables are removed when read, so that workers and jobs do not inherit them.
"""

import os
import socket
from collections.abc import MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from queuectld.server.socketfile import BoundSocket, file_id

if TYPE_CHECKING:
    import asyncio  # a daemon that finds another one running exits before it needs a loop

FIRST_LISTEN_FD: Final = 3
"""SD_LISTEN_FDS_START."""


class Notifier:
    """Sends READY, STOPPING and watchdog beats to the service manager, if there is one."""

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        self._address = environ.pop("NOTIFY_SOCKET", "")
        period_us = environ.pop("WATCHDOG_USEC", "")
        watched_pid = environ.pop("WATCHDOG_PID", str(os.getpid()))
        self._gap_s: float | None = None
        if self._address and period_us.isdecimal() and int(period_us) > 0 and watched_pid == str(os.getpid()):
            # Half of the period, as sd_watchdog_enabled(3) advises.
            self._gap_s = int(period_us) / 1_000_000 / 2
        self._beat: asyncio.TimerHandle | None = None

    def ready(self, loop: "asyncio.AbstractEventLoop", status: str) -> None:
        """Report readiness, and start the watchdog beat from this loop."""
        self._send(f"READY=1\nSTATUS={status}")
        if self._gap_s is not None:
            self._next_beat(loop)

    def stopping(self) -> None:
        """Report the shutdown."""
        self._send("STOPPING=1")

    def close(self) -> None:
        """Stop the beat."""
        if self._beat is not None:
            self._beat.cancel()

    def _next_beat(self, loop: "asyncio.AbstractEventLoop") -> None:
        assert self._gap_s is not None
        self._send("WATCHDOG=1")
        self._beat = loop.call_later(self._gap_s, self._next_beat, loop)

    def _send(self, text: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as link:
            # A manager that is gone or busy must not stop the daemon; it has its own timeouts.
            link.connect_ex(address)
            try:
                link.send(text.encode())
            except OSError:
                return


class ReadyLine:
    """Reports by one line on a pipe, to the process that started this daemon, whether it serves or why not."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        if descriptor is not None:
            os.set_inheritable(descriptor, False)

    def ready(self) -> None:
        """Report that this daemon serves."""
        self._say("ready")

    def running(self) -> None:
        """Report that another daemon is already running."""
        self._say("running")

    def error(self, text: str) -> None:
        """Report why the daemon could not start."""
        self._say("error: " + text.replace("\n", " "))

    def _say(self, line: str) -> None:
        if self._descriptor is None:
            return
        try:
            os.write(self._descriptor, f"{line}\n".encode("utf-8", "backslashreplace"))
        except BrokenPipeError:
            pass  # the parent process did not wait for it
        os.close(self._descriptor)
        self._descriptor = None


def adopted_sockets(environ: MutableMapping[str, str]) -> list[BoundSocket]:
    """Return the listening Unix sockets passed by the service manager (socket activation).

    Raises ValueError for other descriptors. The socket files belong to the manager and are never removed.
    """
    count, pid = environ.pop("LISTEN_FDS", ""), environ.pop("LISTEN_PID", "")
    environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count.isdecimal():
        return []
    return [_adopt(descriptor) for descriptor in range(FIRST_LISTEN_FD, FIRST_LISTEN_FD + int(count))]


def _adopt(descriptor: int) -> BoundSocket:
    try:
        os.set_inheritable(descriptor, False)
        listening = socket.socket(fileno=descriptor)
    except OSError:
        raise ValueError(f"descriptor {descriptor} of LISTEN_FDS is not a socket") from None
    is_stream = listening.family == socket.AF_UNIX and listening.type == socket.SOCK_STREAM
    if not is_stream or not listening.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise ValueError(f"descriptor {descriptor} of LISTEN_FDS is not a listening Unix stream socket")
    listening.setblocking(False)
    path = Path(os.fsdecode(listening.getsockname()))
    return BoundSocket(listening, path, file_id(path), ours=False)
