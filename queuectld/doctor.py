"""Diagnoses the store, its folders and its daemon. Only `repair_store` changes anything.

Works with or without a running daemon, also when the daemon refuses to start.
"""

import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from queuectl_client.paths import Paths, read_lock
from queuectl_client.plainfile import is_locked, missing_target
from queuectld import ownlimits
from queuectld.config import SettingsRefused, read_settings
from queuectld.server.folders import weakness
from queuectld.server.socketfile import is_answered
from queuectld.store import maintenance
from queuectld.store.maintenance import Progress
from queuectld.store.records import StoreRefused
from queuectld.workerwire import spool

OK: Final = "ok"
WARNING: Final = "warning"
PROBLEM: Final = "problem"

ROOM_BYTES: Final = 256 * 1024 * 1024
"""Free space below this is a warning: a store grows by about 0.5 KB per job, logs by more."""
OTHERS: Final = 0o077
REPAIR: Final = "stop the daemon (queuectl daemon stop), then `queuectl doctor --repair`"


class Finding(NamedTuple):
    """The result of one check: `level` is ok, warning or problem; `way_out` says how to fix it, if needed."""

    level: str
    subject: str
    said: str
    way_out: str | None = None


def examine(paths: Paths, progress: Progress) -> list[Finding]:
    """Run all checks and return their findings."""
    looks = (_settings(paths), _daemon(paths), _folders(paths), _store(paths, progress), _room(paths), _spool(paths))
    return [finding for look in looks for finding in look]


def repair_store(paths: Paths) -> list[Finding]:
    """Repair the store, holding the daemon's lock so that no daemon can start."""
    store = Path(paths.store)
    try:
        descriptor = os.open(paths.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    except OSError as error:
        return [Finding(PROBLEM, "repair", f"{paths.lock}: {error.strerror}", _rescue(store))]
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        mended, backup = maintenance.repair(store)
    except BlockingIOError:
        said = "a daemon has the store open, so it was not repaired"
        return [Finding(PROBLEM, "repair", said, f"{REPAIR}; the stop waits for the running jobs to end")]
    except (StoreRefused, OSError) as error:
        return [Finding(PROBLEM, "repair", str(error), _rescue(store))]
    finally:
        os.close(descriptor)
    if backup is None:
        return [Finding(OK, "repair", "there was nothing to repair")]
    done = [Finding(OK, "repair", f"mended: {name} ({rows:,})") for name, rows in mended.items()]
    return [*done, Finding(OK, "repair", f"the store as it was is kept in {backup}")]


def is_well(found: list[Finding]) -> bool:
    """Whether no finding is a problem."""
    return all(finding.level != PROBLEM for finding in found)


def _settings(paths: Paths) -> Iterator[Finding]:
    path = Path(paths.config_file)
    try:
        read_settings(path)
    except SettingsRefused as refused:
        yield Finding(PROBLEM, "settings file", str(refused), f"correct or remove {path}")
    else:
        yield Finding(OK, "settings file", str(path) if path.exists() else f"{path} is not there; defaults hold")


def _daemon(paths: Paths) -> Iterator[Finding]:
    lock = read_lock(paths.lock)
    is_held = is_locked(paths.lock)
    socket = Path(str(lock.get("socket") or paths.socket) if is_held else paths.socket)
    answers = is_answered(socket)
    if is_held:
        pid = lock.get("pid")
        if answers:
            yield Finding(OK, "daemon", f"runs as process {pid} and answers at {socket}")
            yield from _limits(pid)
        else:
            said = f"process {pid} holds {paths.lock}, but nobody answers at {socket}"
            yield Finding(PROBLEM, "daemon", said, f"see {paths.daemon_log}; end process {pid}, jobs go on without it")
    elif answers:
        said = f"somebody answers at {socket} without holding {paths.lock}"
        yield Finding(PROBLEM, "daemon", said, "end the program that listens there, or name another socket")
    else:
        yield Finding(OK, "daemon", "none is running; the next queuectl starts one")


def _limits(pid: object) -> Iterator[Finding]:
    """Check for limits of the daemon and its jobs, inherited from the shell that started it."""
    try:
        bound = list(ownlimits.binding(int(str(pid))))
    except (ValueError, OSError):
        return  # it has just ended, or is in another namespace
    if bound:
        way_out = "queuectl daemon restart from a shell without these limits, or run it under systemd"
        yield Finding(WARNING, "limits of the daemon and all jobs", "; ".join(bound), way_out)
    else:
        yield Finding(OK, "limits of the daemon and all jobs", "none that it was started with")


def _folders(paths: Paths) -> Iterator[Finding]:
    places = {
        "folder of the store": Path(paths.store).parent,
        "folder of the socket": Path(paths.socket).parent,
        "log folder": Path(paths.logs),
        "state folder": Path(paths.state),
    }
    files_ = {"store file": Path(paths.store), "socket": Path(paths.socket), "lock file": Path(paths.lock)}
    for subject, path in (places | files_).items():
        try:
            found = path.stat() if subject in places and path.is_dir() else path.lstat()
        except FileNotFoundError:
            continue
        except OSError as error:
            yield Finding(PROBLEM, subject, f"{path}: {error.strerror}", f"make {path} reachable for this user")
            continue
        if subject in places and not stat.S_ISDIR(found.st_mode) and not stat.S_ISLNK(found.st_mode):
            yield Finding(PROBLEM, subject, f"{path} is not a folder", "move it away, or name another place")
            continue
        yield _ownership(subject, path, found)


def _ownership(subject: str, path: Path, found: os.stat_result) -> Finding:
    if stat.S_ISLNK(found.st_mode):
        return Finding(PROBLEM, subject, f"{path} is a symbolic link", "put the real thing there")
    if stat.S_ISDIR(found.st_mode) and (said := weakness(path)) is not None:
        return Finding(PROBLEM, subject, said, "close it to others, or name another place (QUEUECTL_HOME)")
    if found.st_uid != os.geteuid():
        said = f"{path} belongs to user {found.st_uid}, and this is user {os.geteuid()}"
        return Finding(PROBLEM, subject, said, f"chown {os.geteuid()} {path}")
    if stat.S_IMODE(found.st_mode) & OTHERS:
        said = f"{path} is open to others (mode {stat.S_IMODE(found.st_mode):04o})"
        return Finding(WARNING, subject, said, f"chmod go= {path}")
    if stat.S_ISDIR(found.st_mode) and not os.access(path, os.W_OK | os.X_OK):
        return Finding(PROBLEM, subject, f"{path} cannot be written to", f"chmod u+rwx {path}")
    return Finding(OK, subject, str(path))


def _store(paths: Paths, progress: Progress) -> Iterator[Finding]:
    path = Path(paths.store)
    if paths.link is not None and (said := missing_target(paths.link)) is not None:
        yield Finding(PROBLEM, "store", said, "mount it, or remove the link to begin with an empty store")
        return
    try:
        version, wrong = maintenance.examine(path, progress)
    except StoreRefused as refused:
        yield Finding(PROBLEM, "store", str(refused), _rescue(path))
        return
    if version is None:
        yield Finding(OK, "store", f"{path} is not there yet")
        return
    for said in wrong:
        yield Finding(PROBLEM, "store", said, REPAIR if maintenance.can_repair(said) else _rescue(path))
    if not wrong:
        older = version < maintenance.SCHEMA_VERSION
        said = f"{path}, schema version {version}" + (", to be migrated by the next daemon" if older else "")
        yield Finding(OK, "store", said)


def _rescue(path: Path) -> str:
    # A copy made before a repair is as bad as the store was, and one with a temporary name may be incomplete.
    try:
        found = sorted(path.parent.glob(f"{path.name}*backup*"))
    except OSError as error:
        return f"make {path.parent} readable for this user: {error.strerror}"
    backups = [each for each in found if ".unrepaired-" not in each.name and maintenance.DRAFT not in each.suffix]
    if backups:
        return f"stop the daemon, keep {path}, and put a backup in its place: {backups[-1]} is one"
    return (
        f"stop the daemon and keep a copy of {path}; put a backup (queuectl backup) in its place, or try"
        f" `sqlite3 {path} .recover` into a new file; moved away, the next daemon begins with an empty store"
    )


def _room(paths: Paths) -> Iterator[Finding]:
    for subject, path in (("disk of the store", Path(paths.store).parent), ("disk of the logs", Path(paths.logs))):
        try:
            if not path.is_dir():
                continue
            free = shutil.disk_usage(path).free
        except PermissionError as error:
            yield Finding(PROBLEM, subject, f"{path} cannot be looked at: {error.strerror}", "ask whoever owns it")
            continue
        said = f"{free // (1024 * 1024):,} MiB are free at {path}"
        if free < maintenance.MIN_FREE_BYTES:
            yield Finding(PROBLEM, subject, said, "make room; the daemon goes on by itself")
        elif free < ROOM_BYTES:
            yield Finding(WARNING, subject, said, "make room, for instance by removing jobs (queuectl rm)")
        else:
            yield Finding(OK, subject, said)


def _spool(paths: Paths) -> Iterator[Finding]:
    try:
        left = spool.read_all(paths.state)
    except OSError as error:
        said = f"{spool.folder_of(paths.state)}: {error.strerror}"
        yield Finding(PROBLEM, "results to be stored", said, f"make {paths.state} a folder that this user can read")
        return
    if left:
        said = f"{len(left)} results of jobs that ended while no daemon ran wait in {spool.folder_of(paths.state)}"
        yield Finding(OK, "results to be stored", said, "the daemon takes them in when it starts")
