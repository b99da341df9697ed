"""strace on a daemon or worker: from its first look at its home on, or from the middle of its work.

A process that is to be traced from the start stops itself at that look, by an audit hook that `allow` has it load, and
goes on when strace is attached. Until then it has only imported modules, and errors in that are Python's affair.
"""

import os
import re
import signal
import subprocess
import threading
from pathlib import Path
from typing import Final

from tests.crash.disks import LET_TRACE, detach
from tests.support.daemon import Home
from tests.support.eventually import eventually

DEADLINE_S: Final = 30
LOOK_EVERY_S: Final = 0.02
HOOK: Final = (
    LET_TRACE
    + """
import os, signal, sys

def _stop_at_first_look(kind, event, place, ending):
    armed = os.path.join(os.environ["QUEUECTL_HOME"], "trace-" + kind)
    if not os.path.exists(armed):
        return
    done = []

    def look(seen, arguments):
        if done or seen != event or not str(arguments[place]).endswith(ending):
            return
        done.append(True)
        try:
            os.rename(armed, armed + "." + str(os.getpid()))
        except OSError:
            return
        os.kill(os.getpid(), signal.SIGSTOP)

    sys.addaudithook(look)

if "queuectld.worker.main" in sys.orig_argv:
    _stop_at_first_look("worker", "open", 0, ".state")
elif "queuectld" in sys.orig_argv:
    _stop_at_first_look("daemon", "socket.bind", 1, "workers.sock")
"""
)


def allow(home: Home) -> None:
    """Let daemons and workers of this home that start from now on be traced."""
    site = home.path / "site"
    site.mkdir(exist_ok=True)
    (site / "sitecustomize.py").write_text(HOOK)
    home.env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))


class Trace:
    """A process (a daemon, a worker) with all its threads, and no process that it starts once that runs a program.

    It ends with the first call that was let fail: strace counts for each thread and each new process, and every spawn
    would fail otherwise.
    """

    def __init__(self, pid: int, words: list[str], log: Path) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._over = threading.Event()
        command = ["strace", "-f", "-b", "execve", "-o", str(log), *words, "-p", str(pid)]
        self._strace = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
        assert self._strace.stderr is not None
        line = self._strace.stderr.readline()
        assert "attached" in line, line + self._strace.stderr.read()
        if any(word.startswith("inject=") for word in words):
            threading.Thread(target=self._end_when_injected, daemon=True).start()

    def end(self) -> None:
        """The process goes on untraced, if it is still there."""
        self._over.set()
        with self._lock:
            if self._strace.poll() is None:
                detach(self._strace)
            elif self._strace.stderr is not None:
                self._strace.stderr.close()

    def has_injected(self) -> bool:
        """Whether a call has failed."""
        return b"(INJECTED)" in self._log.read_bytes()

    def _end_when_injected(self) -> None:
        while not self._over.wait(LOOK_EVERY_S):
            if self.has_injected():
                self.end()

    def calls(self) -> list[str]:
        """The names of all calls, in their order."""
        text = self._log.read_text(errors="replace")
        return re.findall(r"^\d+ +(\w+)\(", text, re.MULTILINE)


def arm(home: Home, kind: str) -> None:
    """The next process of this kind, `daemon` or `worker`, stops at its first look at its home."""
    (home.path / f"trace-{kind}").touch()


def caught(home: Home, kind: str) -> int:
    """The process that has stopped."""
    pattern = f"trace-{kind}.*"
    [file] = eventually(lambda: list(home.path.glob(pattern)), deadline=DEADLINE_S, message=f"no {kind} starts")
    stat = Path("/proc", file.suffix[1:], "stat")
    eventually(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", deadline=DEADLINE_S)
    return int(file.suffix[1:])


def let_go_on(pid: int) -> None:
    """The process that was caught goes on."""
    os.kill(pid, signal.SIGCONT)
