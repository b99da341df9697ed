"""Ends the remaining processes of an execution whose worker is gone, so that a job never runs twice concurrently."""

import asyncio
import os
import signal
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

from queuectld.boot import boot_id
from queuectld.pool.process import RunKey, watch_exit
from queuectld.workerwire import cgroup, procfs, runmark, statefile, unkillable

LONGEST_GRACE_MS: Final = 10_000
"""Upper bound of the job's own grace, so that no job stays `processing` for more than 25 s without a worker."""

KILL_AGAIN_SECONDS: Final = 0.5
"""Interval between KILL signals."""


class Remains(NamedTuple):
    """What a lost execution left: the last state record of its worker (None: never started), and living processes."""

    record: dict[str, Any] | None
    processes: list[procfs.Process]


def find(
    state: Path, worker: int, key: RunKey, job_id: str, socket: str, known: Iterable[procfs.Process] = ()
) -> Remains:
    """Find what is left of an execution, by state file, control group, and the mark or environment of processes.

    Processes found before (`known`) belong to it as long as they live, and so do their descendants.
    """
    record = statefile.read(statefile.path_of(str(state), worker))
    if record is not None and (record.get("seq"), record.get("run")) != key:
        record = None
    environ = {"QUEUECTL_JOB_ID": job_id, "QUEUECTL_RUN": str(key.run), "QUEUECTL_SOCKET": socket}
    seeds = [*_still_alive(known), *procfs.find_by_environ(environ)]
    others = {os.getpid()}
    if record is not None and record.get("boot_id") == boot_id():
        seeds += _from_record(record)
        own = procfs.look(record["worker_pid"])
        if own is not None and own.started_at(record["worker_start_time"]):
            others.add(own.pid)  # only stopped: it lives in its group, and was marked if that came in mid-start
    return Remains(record, [process for process in _with_descendants(seeds, others) if process.is_alive])


async def end(state: Path, worker: int, key: RunKey, job_id: str, socket: str, grace_ms: int) -> list[list[Any]]:
    """Send TERM to all processes, and KILL after the grace. Returns when none is left that can be ended.

    Gives those that live on, as `unkillable.survivors_of` does.
    """
    grace = min(grace_ms, LONGEST_GRACE_MS) / 1000
    kill_at = asyncio.get_running_loop().time() + grace
    known: list[procfs.Process] = []
    number, timeout = signal.SIGTERM, grace
    while True:
        record, living = find(state, worker, key, job_id, socket, known)
        if not living:
            return []
        known += living
        if number == signal.SIGKILL:
            survivors = unkillable.survivors_of(living, asyncio.get_running_loop().time() - kill_at)
            if survivors:
                return survivors
            _kill_group(record)
        for process in living:
            procfs.send_signal(process.pid, process.start_time, number)
            if number == signal.SIGTERM:
                procfs.send_signal(process.pid, process.start_time, signal.SIGCONT)
        if not await _all_ended(living, timeout):
            number, timeout = signal.SIGKILL, KILL_AGAIN_SECONDS


def _still_alive(known: Iterable[procfs.Process]) -> list[procfs.Process]:
    found = {process.identity: procfs.look(process.pid) for process in known}
    return [process for identity, process in found.items() if process is not None and process.identity == identity]


def _from_record(record: dict[str, Any]) -> list[procfs.Process]:
    """Return the processes that a state record of this boot leads to."""
    pids = runmark.pids_with(record["mark"]) if record.get("mark") else []
    found = [process for pid in pids if (process := procfs.look(pid)) is not None]
    leader = procfs.look(record["pid"]) if record.get("pid") else None
    if leader is not None and leader.started_at(record.get("start_time")):
        found.append(leader)
    if record.get("cgroup"):
        found += cgroup.processes(record["cgroup"])
    return found


def _with_descendants(seeds: Iterable[procfs.Process], others: Collection[int]) -> list[procfs.Process]:
    """Add descendants and members of the sessions that the seeds lead, except `others`.

    The session of a dead leader is not included: its number may have been reused.
    """
    kin: dict[int, list[procfs.Process]] = {}
    for process in procfs.all_processes():
        kin.setdefault(process.parent, []).append(process)
        if process.session != process.parent:
            kin.setdefault(process.session, []).append(process)
    found: dict[procfs.Identity, procfs.Process] = {}
    waiting = list(seeds)
    while waiting:
        process = waiting.pop()
        if process.identity not in found and process.pid not in others:
            found[process.identity] = process
            waiting += kin.get(process.pid, ())
    return list(found.values())


def _kill_group(record: dict[str, Any] | None) -> None:
    """Kill the control group of a dead worker. A stopped worker lives in the group itself, so it is spared."""
    if record is None or not record.get("cgroup") or record.get("boot_id") != boot_id():
        return
    if not procfs.is_alive(record["worker_pid"], record["worker_start_time"]):
        cgroup.kill(record["cgroup"])


async def _all_ended(processes: Iterable[procfs.Process], timeout: float) -> bool:
    """Wait for the processes. Returns whether all ended within `timeout` seconds."""
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
        await asyncio.wait(ends, timeout=timeout)
    for done, stop in stops:
        if not done.done():
            stop()
    return all(done.done() for done in ends)
