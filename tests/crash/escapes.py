"""What some jobs of the soak run: programs that the usual ways of finding a process do not find.

    python -I -S escapes.py KIND MARKS LOCK SECONDS

Each leaves the marks of tests/crash/marks.py by itself, lasts SECONDS, and ends by itself: nobody may be able to find
it in order to end it. Imports the standard library alone.
"""

import ctypes
import fcntl
import os
import platform
import sys
import threading
import time

PR_SET_DUMPABLE = 4
EXIT_OF_ONE_THREAD = {"x86_64": 60, "aarch64": 93}[platform.machine()]
LINKS = 12


def mark(file: str, letter: str) -> None:
    """One line, at once."""
    with open(file, "a") as marks:
        marks.write(f"{letter} {os.environ['QUEUECTL_RUN']}\n")


def work(file: str, lock: str, seconds: float) -> None:
    """Hold the lock, leave both marks, and let time pass between them."""
    held = os.open(lock, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        mark(file, "o")
    mark(file, "s")
    time.sleep(seconds)
    mark(file, "e")


def hide() -> None:
    """From here on nobody but root reads /proc/PID/environ, as with ssh-agent."""
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def unreadable(file: str, lock: str, seconds: float) -> None:
    """One process that is not dumpable."""
    hide()
    work(file, lock, seconds)


def detached(file: str, lock: str, seconds: float) -> None:
    """A child that is not dumpable, in a session of its own; the job waits for it."""
    child = os.fork()
    if child == 0:
        os.setsid()
        hide()
        work(file, lock, seconds)
        os._exit(0)
    os.waitpid(child, 0)


def leaderless(file: str, lock: str, seconds: float) -> None:
    """Its main thread ends, so that it is shown as a zombie; another goes on."""

    def go_on() -> None:
        work(file, lock, seconds)
        os._exit(0)

    threading.Thread(target=go_on).start()
    ctypes.CDLL(None).syscall(EXIT_OF_ONE_THREAD, 0)


def forking(file: str, lock: str, seconds: float) -> None:
    """Each process starts the next one and ends, all the time; the job waits for the last."""
    end, other_end = os.pipe()
    child = os.fork()
    if child:
        os.close(other_end)
        os.read(end, 1)
        return
    held = os.open(lock, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        mark(file, "o")
    mark(file, "s")
    for _ in range(LINKS):
        time.sleep(seconds / LINKS)
        if os.fork():
            os._exit(0)
    mark(file, "e")
    os._exit(0)


KINDS = {each.__name__: each for each in (unreadable, detached, leaderless, forking)}

if __name__ == "__main__":
    KINDS[sys.argv[1]](sys.argv[2], sys.argv[3], float(sys.argv[4]))
