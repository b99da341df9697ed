"""Reaching the daemon: connecting to it, and starting one where there is none.

Many clients may start daemons at the same time; the daemons settle it among themselves with a lock, and each says
through a pipe when there is one to connect to, itself or another. So nobody here waits by guessing.
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
"""From the first try to the connection: a daemon may have to wait 10 s for another that is ending."""
RETURN_WITHIN_S: Final = 5.0
"""How long a job waits for its daemon to come back. It starts none: it would be that daemon's own job."""

_ANSWER_BYTES: Final = 4096

_NOT_THE_DAEMONS: Final = (
    *("PYTHON", "LD_PRELOAD", "LD_AUDIT", "LD_DEBUG", "LD_PROFILE", "MALLOC_", "GLIBC_TUNABLES"),  # how it would run
    *("NOTIFY_SOCKET", "WATCHDOG_", "LISTEN_"),  # between a service that uses queuectl and its manager
    *("QUEUECTL_JOB_ID", "QUEUECTL_ATTEMPT", "QUEUECTL_RUN", "QUEUECTL_QUEUE", "QUEUECTL_WORKER"),  # a job's own
)
"""How the names of variables begin that the daemon is not given."""
_KEPT: Final = frozenset({"PYTHONHOME", "PYTHONUSERBASE"})
"""Without these this interpreter might find neither its own library nor us."""


def reach_daemon(
    paths: Paths,
    *,
    autostart: bool,
    environ: Mapping[str, str] | None = None,
    notice: Callable[[str], None] | None = None,
) -> socket.socket:
    """A connection to the daemon; where none runs and `autostart` allows it, one is started, detached.

    `notice` gets one line when it was this client that started it. QUEUECTL_NO_AUTOSTART=1 forbids it; so does being
    inside a job, where the daemon may take 5 s to come back. Raises NoDaemon, DaemonUnreachable, ForeignServer.
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
    """Start a daemon, detached; afterwards one is ready. True: this one; False: another that was faster.

    `by_hand`: a person asked for it, so detached workers come back even after a `daemon stop`. Its own output goes to
    the daemon's log. `deadline` is a time of time.monotonic. Raises DaemonUnreachable with the
    daemon's own words when it cannot run.
    """
    environment = own_environment(environ)
    if environment.get("QUEUECTL_HOME"):  # the daemon works in /
        environment["QUEUECTL_HOME"] = os.path.abspath(environment["QUEUECTL_HOME"])
    if paths.explicit_socket:
        environment["QUEUECTL_SOCKET"] = paths.socket
    ready, told = os.pipe()
    try:
        try:
            _spawn(paths, environment, told, by_hand=by_hand)
        finally:
            os.close(told)
        return _is_ours(_read_line(ready, deadline), paths)
    finally:
        os.close(ready)


def own_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What of this environment the daemon gets: nothing that would bind it to the shell it happens to be started from.

    PYTHONPATH stays where this package itself was found by it. Jobs have the environment of their submitter.
    """
    package = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    is_found_so = package in map(os.path.realpath, filter(None, environ.get("PYTHONPATH", "").split(os.pathsep)))
    kept = _KEPT | {"PYTHONPATH"} if is_found_so else _KEPT
    return {name: value for name, value in environ.items() if name in kept or not name.startswith(_NOT_THE_DAEMONS)}


def _spawn(paths: Paths, environment: dict[str, str], told: int, *, by_hand: bool) -> None:
    if paths.link is not None:
        _refuse_dangling(paths.link)
    import subprocess  # half of what a short command costs, so only where a daemon has to be started

    try:
        log = _open_log(paths)
    except OSError as error:
        raise DaemonUnreachable(f"cannot start a daemon: {error.filename}: {error.strerror}") from None
    why = ["--by-hand"] if by_hand else []
    try:
        candidate = subprocess.Popen(
            [sys.executable, "-P", "-m", "queuectld", "serve", "--autostarted", "--ready-fd", str(told), *why],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=environment,
            start_new_session=True,
            pass_fds=(told,),
            umask=0o077,
        )
    finally:
        os.close(log)
    _candidates.append(candidate)


def _start_and_connect(paths: Paths, environ: Mapping[str, str]) -> tuple[socket.socket, bool]:
    """A connection, and whether it is to a daemon that this client started."""
    deadline = time.monotonic() + START_WITHIN_S
    while True:
        started = start_daemon(paths, environ, deadline)
        try:
            return connect_to_daemon(paths), started
        except NoDaemon as error:
            # It was another's daemon, and that has just ended. Each round waits for a process, so this does not spin.
            if time.monotonic() > deadline:
                raise NoDaemon(f"{error.message}, though a daemon says it is ready") from None


def _open_log(paths: Paths) -> int:
    _make_private(paths.logs)
    return open_plain(paths.daemon_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def _make_private(folder: str) -> None:
    """Make the folder and those above it that are missing, each 0700 from its first moment."""
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        _refuse_dangling(folder)
    except FileNotFoundError:
        _make_private(os.path.dirname(folder))
        os.mkdir(folder, 0o700)


def _refuse_dangling(link: str) -> None:
    """Nothing is made where a disk is only not mounted. Raises DaemonUnreachable."""
    if (said := missing_target(link)) is not None:
        raise DaemonUnreachable(f"cannot start a daemon: {said}") from None


def _read_line(descriptor: int, deadline: float) -> str | None:
    """What comes until a line's end or EOF; None when the deadline is first."""
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
    """Whether the daemon that is ready is the candidate that said so. Raises DaemonUnreachable when none is."""
    if answer in ("ready", "running"):
        return answer == "ready"
    where = f"its log is {paths.daemon_log}"
    if answer is None:
        raise DaemonUnreachable(f"the daemon was started but is not ready within {START_WITHIN_S:.0f} s; {where}")
    if answer.startswith("error:"):
        raise DaemonUnreachable(f"the daemon cannot run: {answer.removeprefix('error:').strip()}")
    raise DaemonUnreachable(f"the daemon ended before it was ready; {where}")


_candidates: Final[list[object]] = []
"""Daemons started by this process. Kept, so that Python does not complain about children it did not see end."""
