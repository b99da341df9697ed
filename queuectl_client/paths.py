"""Where the socket, the store, the logs and the rest of queuectl lie.

This module only names places: it makes no folder and opens no file but the daemon's lock, to read which socket is
in use. The rules are those of platformdirs, or one folder for all of it where QUEUECTL_HOME is set.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, NamedTuple

LONGEST_ADDRESS: Final = 107
"""Bytes of a path that fit into `sockaddr_un.sun_path` (unix(7)) with the NUL behind it."""


class Paths(NamedTuple):
    """Absolute paths. `explicit_socket` says that the user named the socket, so that no lock file overrules it."""

    socket: str
    store: str
    lock: str
    """Held by the running daemon; its one JSON line names `pid`, `socket` and `version`."""
    start_lock: str
    """Held by whoever is about to become the daemon."""
    logs: str
    state: str
    worker_socket: str
    config_file: str
    explicit_socket: bool = False

    @property
    def daemon_log(self) -> str:
        """The file that a detached daemon's own log goes to."""
        return os.path.join(self.logs, "queuectld.log")


def resolve(environ: Mapping[str, str] | None = None, *, socket: str | None = None) -> Paths:
    """All places for this environment. `socket` (of `--socket`) wins over QUEUECTL_SOCKET."""
    environ = os.environ if environ is None else environ
    home = environ.get("QUEUECTL_HOME")
    paths = _below(os.path.abspath(home)) if home else _platform()
    named = socket or environ.get("QUEUECTL_SOCKET")
    return paths._replace(socket=os.path.abspath(named), explicit_socket=True) if named else paths


def socket_in_use(paths: Paths) -> str:
    """The socket to connect to: the one the user named, else the running daemon's, else the default.

    The lock names the daemon's socket because the default may differ between two shells of one user:
    cron and docker set no XDG_RUNTIME_DIR. A lock left by a daemon that died names a socket nobody
    listens on, which is found out by connecting.
    """
    if paths.explicit_socket:
        return paths.socket
    return str(read_lock(paths.lock).get("socket") or paths.socket)


def read_lock(path: str) -> dict[str, object]:
    """What the daemon wrote into its lock: `pid`, `socket`, `version`. Empty when there is none, or half a one."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            line = file.readline(65536)
    except OSError:
        return {}
    if not line.strip():
        return {}
    import json  # costs a millisecond, so only once there is a line to read

    try:
        content = json.loads(line)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


@contextmanager
def socket_address(path: str) -> Iterator[str]:
    """An address for `bind` or `connect` that reaches `path` however long that is; good inside the block only.

    A path that is too long for sockaddr_un is reached through a descriptor of its folder.
    Raises OSError when the folder cannot be opened, or the last part alone is too long.
    """
    if len(os.fsencode(path)) <= LONGEST_ADDRESS:
        yield path
        return
    folder, name = os.path.split(path)
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{name}"
    finally:
        os.close(descriptor)


def _below(home: str) -> Paths:
    state = os.path.join(home, "state")
    return Paths(
        socket=os.path.join(home, "queuectl.sock"),
        store=os.path.join(home, "queuectl.db"),
        lock=os.path.join(home, "queuectld.lock"),
        start_lock=os.path.join(home, "start.lock"),
        logs=os.path.join(home, "logs"),
        state=state,
        worker_socket=os.path.join(state, "workers.sock"),
        config_file=os.path.join(home, "queuectl.toml"),
    )


def _platform() -> Paths:
    import warnings

    import platformdirs  # not needed where QUEUECTL_HOME is set

    with warnings.catch_warnings():
        # Without XDG_RUNTIME_DIR (cron, docker) it warns of a folder below /tmp. That is good enough: whoever connects
        # looks at the owners, and the daemon's lock names the socket in use.
        warnings.simplefilter("ignore")
        runtime = platformdirs.user_runtime_dir("queuectl")
    data = platformdirs.user_data_dir("queuectl")
    state = platformdirs.user_state_dir("queuectl")
    return Paths(
        socket=os.path.join(runtime, "queuectl.sock"),
        store=os.path.join(data, "queuectl.db"),
        lock=os.path.join(data, "queuectld.lock"),
        start_lock=os.path.join(data, "start.lock"),
        logs=platformdirs.user_log_dir("queuectl"),
        state=state,
        worker_socket=os.path.join(state, "workers.sock"),
        config_file=os.path.join(platformdirs.user_config_dir("queuectl"), "queuectl.toml"),
    )
