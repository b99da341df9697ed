"""Disks that fail: really full ones, and system calls that strace lets fail in a process of ours.

A full disk is a small tmpfs where we may mount one; what a plain user can do is to have strace answer ENOSPC to
every write of the daemon and its workers. The second way works for both.
"""

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.support.daemon import Home
from tests.support.eventually import eventually
from tests.support.programs import MOUNTING, needs

SIZE: Final = "8m"
STORE_WRITES: Final = "pwrite64,pwritev,fallocate"
SYNCS: Final = "fsync,fdatasync"
WRITES: Final = f"{STORE_WRITES},write,splice"
"""Not for the daemon: asyncio tells itself of signals by a write to a socket."""
LET_TRACE: Final = """
import ctypes
ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1))  # PR_SET_PTRACER: where Yama allows only parents to trace
"""


class RealDisk:
    """A tmpfs mounted over the home."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._filler = home.path / "filler"
        mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0700", "queuectl-test", str(home.path)]
        subprocess.run(mount, check=True)

    def fill(self) -> None:
        """Not a byte is left."""
        with self._filler.open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                return

    def leave(self, count: int) -> None:
        """So many bytes are left."""
        self.fill()
        os.truncate(self._filler, self._filler.stat().st_size - count)

    def empty(self) -> None:
        """There is room again."""
        self._filler.unlink(missing_ok=True)

    def close(self) -> None:
        """Take it away; no process uses it any more."""
        # Lazily: a process that was just killed may hold it for a moment longer.
        subprocess.run(["umount", "--lazy", str(self._home.path)], check=True)


class PretendedDisk:
    """ENOSPC to every write of a home's daemon and workers to files."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._traces: list[subprocess.Popen[str]] = []
        allow_tracing(home)

    def fill(self) -> None:
        """No write succeeds."""
        workers = [worker["pid"] for worker in self._home.json("worker", "list", "--no-autostart")]
        traced = [(self._home.daemon_pid(), STORE_WRITES), *((pid, WRITES) for pid in workers)]
        for pid, calls in traced:
            self._traces.append(inject(pid, f"{calls}:error=ENOSPC", log=Path("/dev/null")))

    def empty(self) -> None:
        """Writes succeed again."""
        for trace in self._traces:
            detach(trace)
        self._traces.clear()

    def close(self) -> None:
        """Trace nobody any longer."""
        self.empty()


Disk = RealDisk | PretendedDisk
KINDS: Final = [pytest.param(PretendedDisk, marks=needs("strace"), id="pretended")]
if os.geteuid() == 0:
    KINDS.append(pytest.param(RealDisk, marks=needs(MOUNTING), id="real"))


def let_rest(home: Home) -> None:
    """Return when the daemon has nothing of its own left to write: soon after a removal it empties its log."""
    home.ok("enqueue", "-q", "--id", "gone", "--hold", "true")
    home.ok("rm", "gone", "--yes")
    log = home.store.with_name(home.store.name + "-wal")
    eventually(lambda: log.stat().st_size == 0, 60)


def allow_tracing(home: Home) -> None:
    """Let strace attach to the daemons and workers of this home that start from now on."""
    site = home.path / "site"
    site.mkdir(exist_ok=True)
    (site / "sitecustomize.py").write_text(LET_TRACE)
    home.env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))


def inject(pid: int, what: str, *, log: Path, paths: Sequence[Path] = ()) -> subprocess.Popen[str]:
    """Let system calls of a process fail from now on: `fsync:error=EIO:when=1` (strace(1), --inject).

    `paths`: only calls on these files. Every one of them is noted in `log`.
    """
    threads = os.listdir(f"/proc/{pid}/task")
    calls = what.partition(":")[0]
    words = ["strace", "-y", "-o", str(log), "-e", f"trace={calls}", "-e", f"inject={what}"]
    words += [word for path in paths for word in ("-P", str(path))]
    # Thread by thread rather than with -f: a job that is started meanwhile is left in peace.
    words += [word for thread in threads for word in ("-p", thread)]
    trace = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert trace.stderr is not None
    for _ in threads:
        line = trace.stderr.readline()
        assert "attached" in line, line + trace.stderr.read()
    return trace


def detach(trace: subprocess.Popen[str]) -> None:
    """End the tracing; the process goes on undisturbed."""
    trace.send_signal(signal.SIGINT)
    try:
        trace.communicate(timeout=10)
    except subprocess.TimeoutExpired:
        # It waits for somebody who does not stop, in the middle of a vfork for one. The kernel frees whom a killed
        # tracer traced.
        trace.kill()
        trace.communicate()


@contextmanager
def failing(home: Home, what: str, *, paths: Sequence[Path]) -> Iterator[Path]:
    """While in here, system calls of the home's daemon fail as in `inject`; the file that notes them is given."""
    log = home.path / "trace"
    trace = inject(home.daemon_pid(), what, log=log, paths=paths)
    try:
        yield log
    finally:
        detach(trace)
