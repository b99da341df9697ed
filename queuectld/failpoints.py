"""Failpoints: named steps at which a test makes this process fail, to check that nothing is lost.

Off unless the variable QUEUECTL_FAILPOINTS was set when the process started: `worker.spawned=kill,claim.sent=kill@3`,
that is point=action, and after an @ which time it acts. QUEUECTL_FAILPOINTS_DIR names a folder then: a point acts
once for all processes that share it, and leaves a file of its name there just before. Workers inherit both variables,
jobs do not. This module is below all others: it imports nothing of ours, and owns no decision.
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
    # A job comes in.
    "enqueue.received": "a client's job has been read, and nothing of it is stored",
    "enqueue.stored": "the job is on disk, and its client has no answer",
    "enqueue.parents": "some of very many parents of a job that nobody sees yet are on disk",
    "batch.added": "jobs of an open batch are on disk, and its client has no answer",
    "batch.committed": "the batch is committed, and its client has no answer",
    # Any commit of the store.
    "store.begun": "a write transaction has begun",
    "store.written": "all of a transaction is written but its COMMIT",
    "store.committed": "a transaction is on disk, and nobody has been told",
    "store.checkpointed": "the log has been moved into the file",
    "store.copied": "a copy of the store, for a backup, is whole and has a temporary name",
    # A claim, and the start of its run.
    "claim.written": "a job has been claimed, in a transaction that is not committed",
    "claim.committed": "a claim is on disk, and its worker has not been told",
    "claim.sent": "the worker has been sent its job",
    "worker.told": "the job has reached the worker, which has not written it down",
    "worker.noted": "the run is in the worker's state file, and no process was started",
    "worker.spawned": "the job's process was started, and nothing else knows its pid",
    "worker.announced": "the run has lasted a while: its pid is in the state file, the daemon has been told",
    # The end of a run.
    "worker.ended": "the job's process has ended; it is not reaped and its output not taken",
    "worker.renamed": "one file of the job's output has its final name",
    "worker.kept": "the job's output has been kept; its process is not reaped",
    "worker.reaped": "the job's process was reaped, and its outcome is in the worker's memory alone",
    "worker.sent": "the outcome has been sent to the daemon",
    "spool.written": "an outcome is on disk under the name of the reserve",
    "spool.kept": "an outcome has been spooled",
    "worker.ladder": "TERM has been sent to a job that is to be ended",
    # An outcome is stored and acknowledged.
    "outcome.received": "an outcome has reached the daemon",
    "outcome.written": "an outcome is written, in a transaction that is not committed",
    "outcome.committed": "an outcome is on disk, and its worker has not been told",
    "outcome.acknowledged": "the worker has been told that its outcome is on disk",
    "worker.acknowledged": "the worker has heard that its outcome is on disk, and still has its spool file",
    # A job is cancelled.
    "cancel.committed": "a cancellation is on disk, and no signal was sent",
    # Workers come and go.
    "supervisor.stored": "a worker is stored, and has no process",
    "supervisor.spawned": "a worker's process runs, and its pid is not stored",
    "worker.started": "the worker's process has loaded all of its code, and has not connected",
    "worker.connected": "the worker has said hello",
    "recovery.ended": "what a lost run had left is dead, and its crash is not reported",
    "recovery.settled": "all that a dead worker ran is stored, and its files are there",
    "recovery.forgotten": "a dead worker's files are gone, and the store still knows it",
    # The daemon starts and ends.
    "daemon.opened": "the store is open, and the runs of before are not looked at",
    "daemon.recovered": "the runs of before are settled, and no worker can connect",
    "daemon.serving": "the daemon serves, and nobody has been told that it is ready",
    "daemon.answered": "an ending daemon has answered its clients, and its turns go on",
    "daemon.closing": "an ending daemon has let go of its workers, and the store is open",
}
"""Every failpoint, and how things stand when it is reached."""

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
