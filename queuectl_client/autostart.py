"""Connect to the daemon, starting one if none runs.

Several clients may start daemons at the same time: the daemons take a lock, and each reports through a pipe when a
daemon is ready, itself or another. So clients need no polling.
"""

import os
import select
import socket
import sys
import time
from collections.abc import Callable, Mapping
from typing import Final

from queuectl_client.errors import DaemonUnreachable, NoDaemon
from queuectl_client.find import connect_to_daemon
from queuectl_client.paths import Paths
from queuectl_client.plainfile import missing_target, open_plain

START_WITHIN_S: Final = 15.0
"""Seconds from the first try to the connection: a daemon may wait 10 s for another that is stopping."""
RETURN_WITHIN_S: Final = 5.0
"""Seconds that a job waits for its daemon to come back. A job starts no daemon."""

_ANSWER_BYTES: Final = 4096

_NOT_INHERITED: Final = (
    *("PYTHON", "LD_PRELOAD", "LD_AUDIT", "LD_DEBUG", "LD_PROFILE", "MALLOC_", "GLIBC_TUNABLES"),  # of the interpreter
    *("NOTIFY_SOCKET", "WATCHDOG_", "LISTEN_"),  # between a service that uses queuectl and its manager
    *("QUEUECTL_JOB_ID", "QUEUECTL_ATTEMPT", "QUEUECTL_RUN", "QUEUECTL_QUEUE", "QUEUECTL_WORKER"),  # a job's own
)
"""Prefixes of the variables that the daemon does not inherit."""
_KEPT: Final = frozenset({"PYTHONHOME", "PYTHONUSERBASE"})
"""Variables without which the interpreter might not find its library or this package."""


def reach_daemon(
    paths: Paths,
    *,
    autostart: bool,
    environ: Mapping[str, str] | None = None,
    notice: Callable[[str], None] | None = None,
) -> socket.socket:
    """Return a connection to the daemon; if none runs and `autostart` allows it, start one, detached.

    `notice` is called with a line if this client started it. No daemon is started with QUEUECTL_NO_AUTOSTART=1, nor
    inside a job, which waits 5 s for its daemon to come back. Raise NoDaemon, DaemonUnreachable, ForeignServer.
    """
    environ = os.environ if environ is None else environ
    try:
        return connect_to_daemon(paths)
    except NoDaemon as error:
        if environ.get("QUEUECTL_JOB_ID"):
            from queuectl_client.returning import wait_for_daemon

            return wait_for_daemon(paths, RETURN_WITHIN_S, notice)
        if not autostart or environ.get("QUEUECTL_NO_AUTOSTART", "0") not in ("", "0"):
            raise NoDaemon(f"{error.message}; start one with: queuectl daemon start") from None
    connection, started = _start_and_connect(paths, environ)
    if started and notice is not None:
        notice("Started the queuectl daemon.")
    return connection


def start_daemon(paths: Paths, environ: Mapping[str, str], deadline: float, *, by_hand: bool = False) -> bool:
    """Start a daemon, detached, and wait until one is ready. Return False if it is another, which was faster.

    `by_hand`: started by the user, so it restores detached workers even after `daemon stop`. Its output goes to the
    daemon's log. `deadline` is a time of time.monotonic. Raise DaemonUnreachable, with the daemon's message, if it
    cannot run.
    """
    environment = own_environment(environ)
    if environment.get("QUEUECTL_HOME"):  # the daemon works in /
        environment["QUEUECTL_HOME"] = os.path.abspath(environment["QUEUECTL_HOME"])
    if paths.explicit_socket:
        environment["QUEUECTL_SOCKET"] = paths.socket
    ready_read, ready_write = os.pipe()
    try:
        try:
            _spawn(paths, environment, ready_write, by_hand=by_hand)
        finally:
            os.close(ready_write)
        return _is_ours(_read_line(ready_read, deadline), paths)
    finally:
        os.close(ready_read)


def own_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for the daemon: nothing that ties it to the shell that starts it.

    PYTHONPATH stays if this package was found through it. Jobs get the environment of their submitter.
    """
    package = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    by_pythonpath = package in map(os.path.realpath, filter(None, environ.get("PYTHONPATH", "").split(os.pathsep)))
    kept = _KEPT | {"PYTHONPATH"} if by_pythonpath else _KEPT
    return {name: value for name, value in environ.items() if name in kept or not name.startswith(_NOT_INHERITED)}


def _spawn(paths: Paths, environment: dict[str, str], ready_write: int, *, by_hand: bool) -> None:
    if paths.link is not None:
        _refuse_dangling(paths.link)
    import subprocess  # slow to import, so only when a daemon is started

    try:
        log = _open_log(paths)
    except OSError as error:
        raise DaemonUnreachable(f"cannot start a daemon: {error.filename}: {error.strerror}") from None
    why = ["--by-hand"] if by_hand else []
    try:
        candidate = subprocess.Popen(
            [sys.executable, "-P", "-m", "queuectld", "serve", "--autostarted", "--ready-fd", str(ready_write), *why],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=environment,
            start_new_session=True,
            pass_fds=(ready_write,),
            umask=0o077,
        )
    finally:
        os.close(log)
    _candidates.append(candidate)


def _start_and_connect(paths: Paths, environ: Mapping[str, str]) -> tuple[socket.socket, bool]:
    """Return a connection, and whether this client started the daemon."""
    deadline = time.monotonic() + START_WITHIN_S
    while True:
        started = start_daemon(paths, environ, deadline)
        try:
            return connect_to_daemon(paths), started
        except NoDaemon as error:
            # The daemon that was ready has ended since. Each round waits for a process, so this does not spin.
            if time.monotonic() > deadline:
                raise NoDaemon(f"{error.message}, though a daemon says it is ready") from None


def _open_log(paths: Paths) -> int:
    _make_private(paths.logs)
    return open_plain(paths.daemon_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def _make_private(folder: str) -> None:
    """Create the folder and its missing parents, each with mode 0700 from the start."""
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        _refuse_dangling(folder)
    except FileNotFoundError:
        _make_private(os.path.dirname(folder))
        os.mkdir(folder, 0o700)


def _refuse_dangling(link: str) -> None:
    """Create nothing behind a dangling link: its disk may not be mounted. Raise DaemonUnreachable."""
    if (problem := missing_target(link)) is not None:
        raise DaemonUnreachable(f"cannot start a daemon: {problem}") from None


def _read_line(descriptor: int, deadline: float) -> str | None:
    """Read up to the end of a line or EOF; return None at the deadline."""
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    line = b""
    while not line.endswith(b"\n") and len(line) < _ANSWER_BYTES:
        left = deadline - time.monotonic()
        if left <= 0 or not poller.poll(left * 1000):
            return None
        piece = os.read(descriptor, _ANSWER_BYTES)
        if not piece:
            break
        line += piece
    return line.decode("utf-8", "replace").strip()


def _is_ours(answer: str | None, paths: Paths) -> bool:
    """Return whether the daemon that is ready is the one started. Raise DaemonUnreachable if none is ready."""
    if answer in ("ready", "running"):
        return answer == "ready"
    where = f"its log is {paths.daemon_log}"
    if answer is None:
        raise DaemonUnreachable(f"the daemon was started but is not ready within {START_WITHIN_S:.0f} s; {where}")
    if answer.startswith("error:"):
        raise DaemonUnreachable(f"the daemon cannot run: {answer.removeprefix('error:').strip()}")
    raise DaemonUnreachable(f"the daemon ended before it was ready; {where}")


_candidates: Final[list[object]] = []
"""Daemons started by this process. Kept, so that Python does not warn about children that are still running."""
