"""A process that is hard to find: `python hidden.py KIND PIDS [GATE]`, one of KINDS.

It adds its pid to the file PIDS once it is what it is to be, and lives on; with GATE until it can read a line from it,
and ends with exit code 0 then.
"""

import contextlib
import ctypes
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Final

from queuectld.workerwire import procfs
from tests.support.eventually import eventually

KINDS: Final = ("threads", "undumpable", "bare")
"""Its first thread has ended, so it looks like a zombie; its environment is hidden; it has none."""
PR_SET_DUMPABLE: Final = 4
SYS_EXIT: Final = {"x86_64": 60}.get(os.uname().machine, 93)
"""What ends one thread and no other: pthread_exit would run Python's own clean-up."""


def command(kind: str, pids: Path, gate: Path | None = None) -> str:
    """The shell's words for it. Python is told to import from here whatever the folder is."""
    root = Path(__file__).parents[2]
    return f"env PYTHONPATH={root} {sys.executable} {__file__} {kind} {pids} {gate or ''}"


def living(pids: Path) -> list[int]:
    """Who of those that have written their pid can still do something."""
    noted = [int(pid) for pid in pids.read_text().split()] if pids.exists() else []
    found = [procfs.look(pid) for pid in noted]
    return [process.pid for process in found if process is not None and process.is_alive]


def end(pids: Path) -> None:
    """End them by force; nothing else would find them."""
    for pid in living(pids):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    eventually(lambda: not living(pids))


def _be(kind: str, pids: str, gate: str | None = None) -> None:
    libc = ctypes.CDLL(None)
    if os.getsid(0) != os.getpid():
        os.setsid()
    if kind == "bare":
        _note(pids)
        os.execve("/bin/sleep", ["sleep", "1000"], {})
    if kind == "undumpable":
        libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
        _note(pids)
        _live_on(gate)
    first = os.getpid()
    threading.Thread(target=_outlive, args=(first, pids, gate)).start()
    libc.syscall(SYS_EXIT, 0)


def _outlive(first: int, pids: str, gate: str | None) -> None:
    def is_alone() -> bool:
        process = procfs.look(first)
        return process is not None and process.state == "Z"

    eventually(is_alone)
    _note(pids)
    _live_on(gate)


def _live_on(gate: str | None) -> None:
    if gate is None:
        signal.pause() if threading.current_thread() is threading.main_thread() else threading.Event().wait()
    else:
        with open(gate, encoding="ascii") as file:
            file.readline()
    os._exit(0)


def _note(pids: str) -> None:
    with open(pids, "a", encoding="ascii") as file:
        file.write(f"{os.getpid()}\n")


if __name__ == "__main__":
    _be(*sys.argv[1:])
