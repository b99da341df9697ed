"""Processes from /proc, and signals that cannot reach a process with a reused pid.

Because pids are reused, a process is identified by its pid and start time (clock ticks since boot, independent of time
namespaces). It is signalled through a pidfd whose start time is checked after opening. Children that are not reaped yet
can be signalled by pid, as their pid cannot be reused.
"""

from __future__ import annotations

import errno
import os
import signal

from queuectld import boot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Final

    Identity = tuple[int, int]

RESOURCE_ERRORS: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""Errors that do not mean that a process is dead; treating it as dead could start its job twice."""
SWEEPS: Final = 20
"""Maximum number of times that a forking process tree is listed again for new processes."""
SHIFT_TICKS: Final = boot.shift_ns() * os.sysconf("SC_CLK_TCK") // 1_000_000_000
"""Offset of start times in this time namespace."""


class Process:
    """A process, from the line of /proc/PID/stat (see proc(5))."""

    __slots__ = ("comm", "group", "parent", "pid", "session", "start_time", "state", "threads")

    def __init__(self, pid: int, line: bytes) -> None:
        # The name is in parentheses and may contain spaces and parentheses itself: split at the last one.
        name_end = line.rindex(b")")
        fields = line[name_end + 2 :].split(None, 20)
        self.pid = pid
        self.comm = line[line.index(b"(") + 1 : name_end].decode("utf-8", "backslashreplace")
        self.state = fields[0].decode("ascii")
        self.parent = int(fields[1])
        self.group = int(fields[2])
        self.session = int(fields[3])
        self.threads = int(fields[17])
        self.start_time = int(fields[19]) - SHIFT_TICKS

    @property
    def identity(self) -> Identity:
        """The pid and start time, unique until the next boot."""
        return self.pid, self.start_time

    @property
    def is_alive(self) -> bool:
        """Whether it is alive: neither a zombie nor being removed.

        A process whose main thread has ended is shown as a zombie while other threads are still running.
        """
        return self.state not in "ZXx" or (self.state == "Z" and self.threads > 1)

    def started_at(self, ticks: int | None) -> bool:
        """Whether it started at this time.

        Readers in different time namespaces may round by one tick; a pid is not reused that soon.
        """
        return ticks is not None and abs(self.start_time - ticks) <= 1


def look(pid: int) -> Process | None:
    """Return the current state of a process; None if it is gone."""
    line = _read(f"/proc/{pid}/stat")
    return Process(pid, line) if line else None


def start_time(pid: int) -> int | None:
    """Return its start time in clock ticks since boot, independent of time namespaces; None if it is gone."""
    process = look(pid)
    return process.start_time if process else None


def is_alive(pid: int, started: int) -> bool:
    """Whether the process with this start time is alive."""
    process = look(pid)
    return process is not None and process.is_alive and process.started_at(started)


def pids() -> list[int]:
    """Return all pids in /proc."""
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def all_processes() -> list[Process]:
    """Return all processes in /proc."""
    return [found for pid in pids() if (found := look(pid))]


def children(pid: int) -> list[int]:
    """Return the pids of the children of all its threads, including zombies."""
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError as error:
        if error.errno in RESOURCE_ERRORS:
            raise
        return found
    for thread in threads:
        listed = _read(f"/proc/{pid}/task/{thread}/children")
        if listed is None:  # a kernel without this file, or the thread has just ended
            return [process.pid for process in all_processes() if process.parent == pid]
        found.extend(int(child) for child in listed.split())
    return found


def descendants(pid: int) -> list[Process]:
    """Return all its descendants, parents first, including zombies but not `pid` itself."""
    found: list[Process] = []
    seen = {pid}
    waiting = children(pid)
    while waiting:
        child = waiting.pop(0)
        if child not in seen:
            seen.add(child)
            process = look(child)
            if process is not None:
                found.append(process)
                waiting.extend(children(child))
    return found


def session_members(session: int) -> list[Process]:
    """Return the processes of a session."""
    return [process for process in all_processes() if process.session == session]


def environ(pid: int) -> dict[bytes, bytes]:
    """Return its initial environment; empty for kernel threads, or if it is gone or unreadable.

    Unreadable are processes of other users, non-dumpable ones (PR_SET_DUMPABLE) and those whose main thread has ended.
    """
    entries = (_read(f"/proc/{pid}/environ") or b"").split(b"\0")
    return dict(entry.split(b"=", 1) for entry in entries if b"=" in entry)


def limits(pid: int) -> bytes:
    """Return the text of /proc/PID/limits, which all users can read; empty if the process is gone."""
    return _read(f"/proc/{pid}/limits") or b""


def find_by_environ(wanted: Mapping[str, str]) -> list[Process]:
    """Return the living processes with all these environment variables, to find the processes of a lost run."""
    pairs = [f"{key}={value}".encode("utf-8", "surrogateescape") for key, value in wanted.items()]
    found = []
    for pid in pids():
        entries = _read(f"/proc/{pid}/environ")
        if entries and all(pair in entries for pair in pairs):
            entry_set = set(entries.split(b"\0"))
            process = look(pid)
            if process is not None and process.is_alive and entry_set.issuperset(pairs):
                found.append(process)
    return found


def send_signal(pid: int, started: int, number: int) -> bool:
    """Signal the process with this start time. Return False if it is gone or may not be signalled."""
    try:
        descriptor = os.pidfd_open(pid)
    except (ProcessLookupError, PermissionError):
        return False
    try:
        # The pid may have been reused before the pidfd was opened: check the start time.
        process = look(pid)
        if process is None or not process.started_at(started):
            return False
        signal.pidfd_send_signal(descriptor, number)
    except (ProcessLookupError, PermissionError):
        return False
    finally:
        os.close(descriptor)
    return True


def signal_all(members: Callable[[], Iterable[Process]], number: int) -> set[Identity]:
    """Signal the living processes that `members` returns, until it returns no new ones. Returns those signalled."""
    reached: set[Identity] = set()
    for _ in range(SWEEPS):
        fresh = [process for process in members() if process.is_alive and process.identity not in reached]
        if not fresh:
            break
        for process in fresh:
            send_signal(process.pid, process.start_time, number)
            reached.add(process.identity)
    return reached


def describe(processes: Iterable[Process], *, most: int = 10) -> str:
    """Return a description such as `sleep (pid 123), sh (pid 124)`. Unprintable characters are replaced."""
    listed = list(processes)
    texts = [f"{''.join(c if c.isprintable() else '?' for c in one.comm)} (pid {one.pid})" for one in listed[:most]]
    if len(listed) > most:
        texts.append(f"{len(listed) - most} more")
    return ", ".join(texts)


def _read(path: str) -> bytes | None:
    """Return None if the process is gone or not accessible. Raises OSError for RESOURCE_ERRORS."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except OSError as error:
        if error.errno in RESOURCE_ERRORS:
            raise
        return None
