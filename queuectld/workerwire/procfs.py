"""Processes as /proc shows them: who lives, who descends from whom, and signals that cannot reach a stranger.

A pid alone names nobody: it is used again. Here a process is a pid with its start time (clock ticks since boot, by the
machine's own clock), and is signalled through a pidfd whose start time was checked after it was opened. Own children
that were not yet reaped may be signalled by pid: their pid cannot be used again.
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
"""A tree that forks while it is signalled is listed again until there are no new processes, at most this often."""
SHIFT_TICKS: Final = boot.shift_ns() * os.sysconf("SC_CLK_TCK") // 1_000_000_000
"""How far the start times that this process is shown are ahead of the machine's clock."""


class Process:
    """One line of /proc/PID/stat: see proc(5)."""

    __slots__ = ("comm", "group", "parent", "pid", "session", "start_time", "state", "threads")

    def __init__(self, pid: int, line: bytes) -> None:
        # The name is in parentheses and may hold spaces and parentheses itself: cut at the last one.
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
        """What names it as long as this boot lasts."""
        return self.pid, self.start_time

    @property
    def is_alive(self) -> bool:
        """Whether it can still do something: neither a zombie nor being removed.

        One whose first thread has ended is shown as a zombie while its other threads go on.
        """
        return self.state not in "ZXx" or (self.state == "Z" and self.threads > 1)

    def started_at(self, ticks: int | None) -> bool:
        """Whether this start time, which another process may have been shown, is its own.

        Two readers in time namespaces may round it to two ticks; no pid is used again as soon as that.
        """
        return ticks is not None and abs(self.start_time - ticks) <= 1


def look(pid: int) -> Process | None:
    """The process as it is now, or None when it is gone."""
    line = _read(f"/proc/{pid}/stat")
    return Process(pid, line) if line else None


def start_time(pid: int) -> int | None:
    """When it started, in clock ticks since boot by the machine's own clock; None when it is gone."""
    process = look(pid)
    return process.start_time if process else None


def is_alive(pid: int, started: int) -> bool:
    """Whether this very process lives: same start time, and no zombie."""
    process = look(pid)
    return process is not None and process.is_alive and process.started_at(started)


def pids() -> list[int]:
    """Every pid that /proc shows."""
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def all_processes() -> list[Process]:
    """Return all processes in /proc."""
    return [found for pid in pids() if (found := look(pid))]


def children(pid: int) -> list[int]:
    """The pids of its children, zombies too, of all its threads."""
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found
    for thread in threads:
        listed = _read(f"/proc/{pid}/task/{thread}/children")
        if listed is None:  # a kernel without this file, or the thread just ended
            return [process.pid for process in all_processes() if process.parent == pid]
        found.extend(int(child) for child in listed.split())
    return found


def descendants(pid: int) -> list[Process]:
    """Its children, their children and so on, parents first; without `pid` itself. Zombies are listed too."""
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
    """Every process of this session."""
    return [process for process in all_processes() if process.session == session]


def environ(pid: int) -> dict[bytes, bytes]:
    """The environment it was started with; empty when it is gone, a kernel thread, or may not be read.

    That is another user's, one that is not dumpable (PR_SET_DUMPABLE), and one whose first thread has ended.
    """
    entries = (_read(f"/proc/{pid}/environ") or b"").split(b"\0")
    return dict(entry.split(b"=", 1) for entry in entries if b"=" in entry)


def limits(pid: int) -> bytes:
    """Its resource limits as proc(5) shows them, to everybody; empty when it is gone."""
    return _read(f"/proc/{pid}/limits") or b""


def find_by_environ(wanted: Mapping[str, str]) -> list[Process]:
    """Every living process whose environment has all of these: how the processes of a lost run are found."""
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
    """Signal this very process through a pidfd. False when it is gone, or the pid is somebody else's by now."""
    try:
        descriptor = os.pidfd_open(pid)
    except (ProcessLookupError, PermissionError):
        return False
    try:
        # The pidfd names whoever has the pid now; the start time tells whether that is still our process.
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
    """Signal every living process that `members` lists, again until it lists nobody new. Returns who was signalled."""
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
    """`sleep (pid 123), sh (pid 124)`, for people; control characters in names are escaped."""
    listed = list(processes)
    texts = [f"{''.join(c if c.isprintable() else '?' for c in one.comm)} (pid {one.pid})" for one in listed[:most]]
    if len(listed) > most:
        texts.append(f"{len(listed) - most} more")
    return ", ".join(texts)


def _read(path: str) -> bytes | None:
    """None when the process is gone, or another user's. Raises OSError when we cannot look, which tells nothing."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except OSError as error:
        if error.errno in RESOURCE_ERRORS:
            raise
        return None
