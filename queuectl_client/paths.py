"""Paths of the socket, the store, the logs and other files.

Creates no folder and opens no file but the daemon's lock, to read which socket is in use. The rules are those of
platformdirs, or one folder for everything if QUEUECTL_HOME is set.

Two stores share no files. For a store that is not at the user's default path, names that would otherwise be shared
contain a hash of its path. A symbolic link to a store is resolved: whatever its names, a store has one lock beside it,
and so one daemon.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, NamedTuple

from queuectl_client.plainfile import read_plain

LONGEST_ADDRESS: Final = 107
"""Bytes of a path that fit into `sockaddr_un.sun_path` (unix(7)) with the terminating NUL."""
LONGEST_LOCK: Final = 65_536
"""Bytes of a lock file that are read."""
STORE_NAME: Final = "queuectl.db"
_HASH_DIGITS: Final = 12


class Paths(NamedTuple):
    """Absolute paths. `explicit_socket`: the user named the socket, so the lock file does not override it."""

    socket: str
    store: str
    lock: str
    """Held by the running daemon; its one JSON line names `pid`, `socket`, `store` and `version`."""
    start_lock: str
    """Held by a process that is about to become the daemon."""
    logs: str
    state: str
    worker_socket: str
    config_file: str
    explicit_socket: bool = False
    link: str | None = None
    """The symbolic link to the store, if it was named by one."""

    @property
    def has_own_socket(self) -> bool:
        """Whether the socket is beside the store, where no daemon of another store has its socket."""
        return os.path.dirname(self.socket) == os.path.dirname(self.link or self.store)

    @property
    def daemon_log(self) -> str:
        """Log file of a detached daemon."""
        return os.path.join(self.logs, "queuectld.log")


def resolve(environ: Mapping[str, str] | None = None, *, socket: str | None = None) -> Paths:
    """Return the paths for this environment. `socket` (from `--socket`) takes precedence over QUEUECTL_SOCKET."""
    environ = os.environ if environ is None else environ
    home = environ.get("QUEUECTL_HOME")
    paths = _below(os.path.abspath(home)) if home else _platform()
    if os.path.islink(paths.store):
        paths = _of_target(paths)
    named = socket or environ.get("QUEUECTL_SOCKET")
    return paths._replace(socket=os.path.abspath(named), explicit_socket=True) if named else paths


def socket_in_use(paths: Paths) -> str:
    """Return the socket to connect to: the one the user named, else the running daemon's, else the default.

    The lock names the daemon's socket because the default may differ between two shells of one user: cron and docker
    set no XDG_RUNTIME_DIR. A stale lock names a socket that nothing listens on, so connecting fails.
    """
    if paths.explicit_socket:
        return paths.socket
    return str(read_lock(paths.lock).get("socket") or paths.socket)


def read_lock(path: str) -> dict[str, object]:
    """Return the content of the daemon's lock: `pid`, `socket`, `store`, `version`. Empty if missing or incomplete.

    Never blocks or raises, whatever kind of file it is. `socket` is returned only if it is a possible path.
    """
    try:
        line = read_plain(path, LONGEST_LOCK).partition(b"\n")[0]
    except OSError:
        return {}
    if not line.strip():
        return {}
    import json  # takes a millisecond, so only if there is a line to read

    try:
        content = json.loads(line.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError):
        return {}
    if not isinstance(content, dict):
        return {}
    if not _is_path(content.get("socket")):
        content.pop("socket", None)
    return content


@contextmanager
def socket_address(path: str) -> Iterator[str]:
    """Return a context manager for an address of `path` to bind or connect to, however long the path.

    A path that is too long for sockaddr_un is addressed through a descriptor of its folder, open only inside the block.
    Raise OSError if the folder cannot be opened or the last component is too long.
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


def _is_path(value: object) -> bool:
    """Return whether it can be the path of a file: absolute, without NUL, encodable."""
    if not isinstance(value, str) or not value.startswith("/") or "\0" in value:
        return False
    try:
        os.fsencode(value)
    except UnicodeEncodeError:
        return False
    return True


def _below(home: str, store: str = STORE_NAME) -> Paths:
    """Return the paths in one folder. As it may hold several stores, file names contain that of the store."""
    before = "" if store == STORE_NAME else f"{store}."
    state = os.path.join(home, f"{before}state")
    return Paths(
        socket=os.path.join(home, f"{before}queuectl.sock"),
        store=os.path.join(home, store),
        lock=os.path.join(home, f"{before}queuectld.lock"),
        start_lock=os.path.join(home, f"{before}start.lock"),
        logs=os.path.join(home, f"{before}logs"),
        state=state,
        worker_socket=os.path.join(state, "workers.sock"),
        config_file=os.path.join(home, "queuectl.toml"),
    )


def _of_target(paths: Paths) -> Paths:
    """Return the paths of a store that is a symbolic link: those of its target.

    The socket and the settings file stay: the lock names the socket, and settings belong to the folder.
    """
    real = os.path.realpath(paths.store)
    usual = _platform()
    target = usual if real == os.path.realpath(usual.store) else _below(*os.path.split(real))
    return target._replace(store=real, socket=paths.socket, config_file=paths.config_file, link=paths.store)


def _platform() -> Paths:
    import warnings

    import platformdirs  # not needed where QUEUECTL_HOME is set

    with warnings.catch_warnings():
        # Without XDG_RUNTIME_DIR (cron, docker) it warns about a folder below /tmp. That is safe: clients check the
        # owners, and the daemon's lock names the socket in use.
        warnings.simplefilter("ignore")
        runtime = platformdirs.user_runtime_dir("queuectl")
    data = platformdirs.user_data_dir("queuectl")
    state = platformdirs.user_state_dir("queuectl")
    logs = platformdirs.user_log_dir("queuectl")
    store = os.path.join(data, STORE_NAME)
    socket = "queuectl.sock"
    if not _is_default(store):
        hashed = _hash(store)
        socket = f"queuectl-{hashed}.sock"
        if os.environ.get("XDG_DATA_HOME") or os.environ.get("XDG_STATE_HOME"):
            # Otherwise both folders are in one HOME, with no other store's state.
            state = os.path.join(state, f"store-{hashed}")
            logs = os.path.join(state, "log")
    return Paths(
        socket=os.path.join(runtime, socket),
        store=store,
        lock=os.path.join(data, "queuectld.lock"),
        start_lock=os.path.join(data, "start.lock"),
        logs=logs,
        state=state,
        worker_socket=os.path.join(state, "workers.sock"),
        config_file=os.path.join(platformdirs.user_config_dir("queuectl"), "queuectl.toml"),
    )


def _is_default(store: str) -> bool:
    """Return whether the store is at the user's default path, whatever HOME and XDG_DATA_HOME are."""
    import pwd

    try:
        home = pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        return False  # no passwd entry: only HOME tells the paths apart
    usual = os.path.join(home, ".local/share/queuectl", STORE_NAME)
    return store == usual or os.path.realpath(store) == os.path.realpath(usual)


def _hash(store: str) -> str:
    from hashlib import sha256

    real = os.path.join(os.path.realpath(os.path.dirname(store)), os.path.basename(store))
    return sha256(os.fsencode(real)).hexdigest()[:_HASH_DIGITS]
