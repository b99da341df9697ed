"""Where the socket, the store, the logs and the rest of queuectl lie.

This module only names places: it makes no folder and opens no file but the daemon's lock, to read which socket is
in use. The rules are those of platformdirs, or one folder for all of it where QUEUECTL_HOME is set.

Two stores share nothing. A store elsewhere than where this user's store lies by default has a hash of its path in the
names of what would else be shared, and a store that is a symbolic link is the file it leads to: whatever its names,
there is one lock beside that file, and so one daemon.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, NamedTuple

from queuectl_client.plainfile import read_plain

LONGEST_ADDRESS: Final = 107
"""Bytes of a path that fit into `sockaddr_un.sun_path` (unix(7)) with the NUL behind it."""
LONGEST_LOCK: Final = 65_536
"""Bytes of a lock that are looked at."""
STORE_NAME: Final = "queuectl.db"
_HASH_DIGITS: Final = 12


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
    link: str | None = None
    """The symbolic link that leads to the store, where it was found by one."""

    @property
    def has_own_socket(self) -> bool:
        """Whether the socket lies beside the store, where the daemon of no other store would have its own."""
        return os.path.dirname(self.socket) == os.path.dirname(self.link or self.store)

    @property
    def daemon_log(self) -> str:
        """The file that a detached daemon's own log goes to."""
        return os.path.join(self.logs, "queuectld.log")


def resolve(environ: Mapping[str, str] | None = None, *, socket: str | None = None) -> Paths:
    """All places for this environment. `socket` (of `--socket`) wins over QUEUECTL_SOCKET."""
    environ = os.environ if environ is None else environ
    home = environ.get("QUEUECTL_HOME")
    paths = _below(os.path.abspath(home)) if home else _platform()
    if os.path.islink(paths.store):
        paths = _of_target(paths)
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
    """What the daemon wrote into its lock: `pid`, `socket`, `version`. Empty when there is none, or half a one.

    Whatever lies there is read without waiting and without an error. A socket is told only where it can be a path.
    """
    try:
        line = read_plain(path, LONGEST_LOCK).partition(b"\n")[0]
    except OSError:
        return {}
    if not line.strip():
        return {}
    import json  # costs a millisecond, so only once there is a line to read

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


def _is_path(value: object) -> bool:
    """Whether it can be the path of a file: absolute, without NUL, and bytes that the system knows."""
    if not isinstance(value, str) or not value.startswith("/") or "\0" in value:
        return False
    try:
        os.fsencode(value)
    except UnicodeEncodeError:
        return False
    return True


def _below(home: str, store: str = STORE_NAME) -> Paths:
    """All of it in one folder. A store of another name shares it with others, so everything has its name."""
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
    """The places of a store that is a link: those of the file it leads to, as if that had been named.

    Only the socket and the settings file stay where they are: the lock names the socket, and settings are by place.
    """
    real = os.path.realpath(paths.store)
    usual = _platform()
    target = usual if real == os.path.realpath(usual.store) else _below(*os.path.split(real))
    return target._replace(store=real, socket=paths.socket, config_file=paths.config_file, link=paths.store)


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
    logs = platformdirs.user_log_dir("queuectl")
    store = os.path.join(data, STORE_NAME)
    socket = "queuectl.sock"
    if not _is_default(store):
        hashed = _hash(store)
        socket = f"queuectl-{hashed}.sock"
        if os.environ.get("XDG_DATA_HOME") or os.environ.get("XDG_STATE_HOME"):
            # Else both folders lie in one HOME, and nobody else's state is there.
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
    """Whether the store lies where this user's does by default, whatever HOME and XDG_DATA_HOME say."""
    import pwd

    try:
        home = pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        return False  # a user without an entry: then HOME is all that tells one place from another
    usual = os.path.join(home, ".local/share/queuectl", STORE_NAME)
    return store == usual or os.path.realpath(store) == os.path.realpath(usual)


def _hash(store: str) -> str:
    from hashlib import sha256

    real = os.path.join(os.path.realpath(os.path.dirname(store)), os.path.basename(store))
    return sha256(os.fsencode(real)).hexdigest()[:_HASH_DIGITS]
