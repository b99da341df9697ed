"""Failpoints: named steps at which a test can make this process fail, to check that nothing is lost.

Enabled by the environment variable QUEUECTL_FAILPOINTS at the start of the process, a list of point=action such as
`worker.spawned=kill,claim.sent=kill@3`; `@3` means the third time that the point is reached. If QUEUECTL_FAILPOINTS_DIR
names a folder, a point acts only once for all processes that share it, and creates a file of its name there first.
Workers inherit both variables, jobs do not. This module is the lowest layer and imports no other module of the project.
"""

from __future__ import annotations

import errno
import os
import signal

TYPE_CHECKING = False  # importing typing would add a megabyte to every worker
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

FAILPOINTS: Final[Mapping[str, str]] = {
    # Adding a job.
    "enqueue.received": "a job was received, but not stored",
    "enqueue.stored": "the job is on disk, but not answered",
    "enqueue.parents": "some of many parents of a job that is not visible yet are on disk",
    "batch.added": "jobs of an open batch are on disk, but not answered",
    "batch.committed": "the batch is committed, but not answered",
    # Commits of the store.
    "store.begun": "a write transaction was started",
    "store.written": "all of a transaction except its COMMIT was executed",
    "store.committed": "a transaction is on disk, but not published",
    "store.checkpointed": "the write-ahead log was copied to the file",
    "store.copied": "a backup of the store is complete, but still has a temporary name",
    # Claims, and the start of their runs.
    "claim.written": "a job was claimed in an uncommitted transaction",
    "claim.committed": "a claim is on disk, but not sent to its worker",
    "claim.sent": "the job was sent to the worker",
    "worker.told": "the worker received the job, but has not recorded it",
    "worker.noted": "the run is in the worker's state file, but no process was started",
    "worker.spawned": "the job's process was started, but its pid is not recorded",
    "worker.announced": "a longer run: its pid is in the state file and was sent to the daemon",
    # The end of runs.
    "worker.ended": "the job's process has ended, but is not reaped and its output not read",
    "worker.renamed": "the first output file was renamed to its final name",
    "worker.kept": "all output files were renamed, but the process is not reaped",
    "worker.reaped": "the job's process was reaped; its outcome is only in the worker's memory",
    "worker.sent": "the outcome was sent to the daemon",
    "spool.written": "an outcome is on disk in the reserve file",
    "spool.kept": "an outcome is in its spool file",
    "worker.ladder": "SIGTERM was sent to a job",
    # Storing and acknowledging outcomes.
    "outcome.received": "the daemon received an outcome",
    "outcome.written": "an outcome was written in an uncommitted transaction",
    "outcome.committed": "an outcome is on disk, but not acknowledged",
    "outcome.acknowledged": "the acknowledgement of an outcome was sent to its worker",
    "worker.acknowledged": "the worker received an acknowledgement, but has not removed its spool file",
    # Cancelling a job.
    "cancel.committed": "a cancellation is on disk, but no signal was sent",
    # Starting and removing workers.
    "supervisor.stored": "a worker is stored, but has no process",
    "supervisor.spawned": "a worker's process was started, but its pid is not stored",
    "worker.started": "the worker has imported its modules, but not connected",
    "worker.connected": "the worker has sent its hello",
    "recovery.ended": "the processes of a lost run were killed, but its crash is not reported",
    "recovery.settled": "all outcomes of a dead worker are stored, but its files not removed",
    "recovery.forgotten": "the files of a dead worker were removed, but not the worker in the store",
    # Start and end of the daemon.
    "daemon.opened": "the store is open, but earlier runs are not recovered",
    "daemon.recovered": "earlier runs are recovered, but workers cannot connect",
    "daemon.serving": "the daemon serves, but has not reported that it is ready",
    "daemon.answered": "an ending daemon has answered its clients, but the loop of turns still runs",
    "daemon.closing": "an ending daemon has disconnected its workers, but the store is open",
}
"""Every failpoint, and the state when it is reached."""

ACTIONS: Final = ("kill", "stop", "enospc")


class _Armed:
    """The action of one armed failpoint."""

    def __init__(self, action: str, at: int) -> None:
        self.action = action
        self.left = at


def reached(name: str) -> None:
    """Mark that a step was reached. Does nothing unless armed. Raises OSError if the action is `enospc`."""
    if _armed:
        _act(name)


def _act(name: str) -> None:
    armed = _armed.get(name)
    if armed is None:
        return
    armed.left -= 1
    if armed.left or not _is_first(name):
        return
    if armed.action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if armed.action == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
        return
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _is_first(name: str) -> bool:
    try:
        os.close(os.open(os.path.join(os.environ["QUEUECTL_FAILPOINTS_DIR"], name), os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return False
    return True


def parse(text: str) -> dict[str, _Armed]:
    """Parse QUEUECTL_FAILPOINTS. Raises ValueError for an unknown point, since a misspelt one would test nothing."""
    armed = {}
    for each in filter(None, text.split(",")):
        name, _, what = each.partition("=")
        action, is_numbered, at = what.partition("@")
        if name not in FAILPOINTS or action not in ACTIONS or (is_numbered and not at.isdecimal()):
            raise ValueError(f"QUEUECTL_FAILPOINTS: {each!r} is not point=action or point=action@n")
        armed[name] = _Armed(action, int(at or 1))
    return armed


_armed = parse(os.environ.get("QUEUECTL_FAILPOINTS", ""))
