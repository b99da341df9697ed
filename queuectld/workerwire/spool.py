"""Spooled outcomes: unacknowledged ones, in files `spool/<worker>.<seq>.<run>` below the state folder.

A worker without a daemon saves its outcome here, with fsync, before anything else. The next daemon applies the file,
which is idempotent as outcomes are fenced by run, and removes it. The worker removes it on a `stored` frame. Disk space
is reserved for each worker, so that no outcome is lost on a full disk.
"""

from __future__ import annotations

import errno
import os

from queuectld import failpoints
from queuectld.workerwire import statefile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

RESERVE_BYTES: Final = 64 * 1024
"""Enough for two streams of inline output (16 KiB each) and the other fields."""


def folder_of(state_folder: str) -> str:
    """Return the folder of the spool files."""
    return os.path.join(state_folder, "spool")


def path_of(state_folder: str, worker: int, seq: int, run: int) -> str:
    """Return the path of the spool file of a run."""
    return os.path.join(folder_of(state_folder), f"{worker}.{seq}.{run}")


def create_reserve(state_folder: str, worker: int) -> None:
    """Create the folder (mode 0700) and, if there is space, the worker's reserve. A full disk is not an error."""
    os.makedirs(folder_of(state_folder), mode=0o700, exist_ok=True)
    path = _reserve(state_folder, worker)
    descriptor = statefile.open_own(path, os.O_WRONLY | os.O_CREAT)
    try:
        os.posix_fallocate(descriptor, 0, RESERVE_BYTES)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EOPNOTSUPP, errno.EINVAL):
            raise
    finally:
        os.close(descriptor)


def save(state_folder: str, worker: int, outcome: Mapping[str, Any]) -> None:
    """Write the body of an `ended` frame to disk with fsync. Raises OSError.

    It is written to the reserve, which is then renamed, so that no new block is needed.
    """
    reserve = _reserve(state_folder, worker)
    data = statefile.seal(outcome)
    descriptor = statefile.open_own(reserve, os.O_WRONLY | os.O_CREAT)
    try:
        written = 0
        while written < len(data):
            written += os.pwrite(descriptor, data[written:], written)
        os.ftruncate(descriptor, len(data))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    failpoints.reached("spool.written")
    os.rename(reserve, path_of(state_folder, worker, outcome["seq"], outcome["run"]))
    _sync_folder(folder_of(state_folder))
    failpoints.reached("spool.kept")


def read_all(state_folder: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the complete outcomes with their paths, sorted by path. Reserves and incomplete files are skipped."""
    folder = folder_of(state_folder)
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    found = []
    for name in names:
        if not name.endswith(".reserve"):
            path = os.path.join(folder, name)
            outcome = statefile.read(path)
            if outcome is not None:
                found.append((path, outcome))
    return found


def remove(path: str) -> None:
    """Remove a file if it exists. Not synced: an outcome that reappears after a power cut does no harm."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def drop_reserve(state_folder: str, worker: int) -> None:
    """Remove the reserve of a worker that has ended."""
    remove(_reserve(state_folder, worker))


def _reserve(state_folder: str, worker: int) -> str:
    return os.path.join(folder_of(state_folder), f"{worker}.reserve")


def _sync_folder(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
