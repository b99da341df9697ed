"""Ending what is left of an execution whose worker is gone, so that the job never runs twice at once."""

import asyncio
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

from queuectld.workers import cgroup, statefile, tree
from queuectld.workers.process import RunKey, watch_exit

LONGEST_GRACE_MS: Final = 10_000
"""However long the job's own grace is: nothing stays `processing` for more than 25 s once nobody runs it."""


class Trace(NamedTuple):
    """What a lost execution left: its worker's last record (None: it never began), and its living processes."""

    record: dict[str, Any] | None
    processes: list[tree.Process]


def find(state: Path, worker: int, key: RunKey, job_id: str, socket: str) -> Trace:
    """The traces of one execution: by its worker's state file and control group, by its processes' environment."""
    record = statefile.read(statefile.path_of(str(state), worker))
    if record is not None and (record.get("seq"), record.get("run")) != key:
        record = None
    return Trace(record, list(_living(record, key, job_id, socket)))


async def end(state: Path, worker: int, key: RunKey, job_id: str, socket: str, grace_ms: int) -> None:
    """TERM to all of them, KILL to those that live after the grace; returns when none is left."""
    grace = min(grace_ms, LONGEST_GRACE_MS) / 1000
    for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, None)):
        while True:
            record, living = find(state, worker, key, job_id, socket)
            if not living:
                return
            if number == signal.SIGKILL:
                _kill_group(record)
            for process in living:
                tree.send_signal(process.pid, process.start_time, number)
                if number == signal.SIGTERM:
                    tree.send_signal(process.pid, process.start_time, signal.SIGCONT)
            if not await _all_ended(living, patience):
                break


def _living(record: dict[str, Any] | None, key: RunKey, job_id: str, socket: str) -> Iterable[tree.Process]:
    marks = {"QUEUECTL_JOB_ID": job_id, "QUEUECTL_RUN": str(key.run), "QUEUECTL_SOCKET": socket}
    found = {process.identity: process for process in tree.find_by_environ(marks)}
    if record is not None and record.get("boot_id") == tree.boot_id():
        leader = tree.look(record["pid"]) if record.get("pid") else None
        # A leader that is gone cannot vouch for its session: the number may be a stranger's by now.
        if leader is not None and leader.start_time == record.get("start_time"):
            members = [*tree.session_members(leader.pid), *tree.descendants(leader.pid)]
            found.update({process.identity: process for process in members})
        if record.get("cgroup"):  # whatever became of their environment, session and parents
            found.update({process.identity: process for process in cgroup.processes(record["cgroup"])})
            # The worker lives there as well, should it only be stopped.
            found.pop((record["worker_pid"], record["worker_start_time"]), None)
    return [process for process in found.values() if process.is_alive]


def _kill_group(record: dict[str, Any] | None) -> None:
    """KILL to the whole control group of a worker that is dead; one that is stopped lives in it itself."""
    if record is None or not record.get("cgroup") or record.get("boot_id") != tree.boot_id():
        return
    if not tree.is_alive(record["worker_pid"], record["worker_start_time"]):
        cgroup.kill(record["cgroup"])


async def _all_ended(processes: Iterable[tree.Process], patience: float | None) -> bool:
    """Whether all of them ended within `patience` seconds (None: however long it takes)."""
    loop = asyncio.get_running_loop()
    ends = []
    stops = []
    for process in processes:
        done: asyncio.Future[None] = loop.create_future()
        stop = watch_exit(process.pid, process.start_time, lambda done=done: done.set_result(None))  # type: ignore[misc]
        if stop is not None:
            ends.append(done)
            stops.append((done, stop))
    if ends:
        await asyncio.wait(ends, timeout=patience)
    for done, stop in stops:
        if not done.done():
            stop()
    return all(done.done() for done in ends)
