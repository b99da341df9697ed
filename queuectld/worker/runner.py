"""How a command becomes a process: exactly what the job gets, and nothing of the worker.

It gets descriptors 0, 1 and 2, a session of its own, default signal dispositions, an empty mask, and the folder,
umask and environment it was submitted with. `posix_spawn` does it without copying the worker's memory. Folder,
umask, OOM score and mark are the worker's own for that moment: it starts one process at a time and has one thread.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import stat

from queuectld.workerwire.runmark import Marks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Final

WORKER_UMASK: Final = 0o077
OOM_SCORE_ABOVE: Final = 200
"""How much sooner than daemon and worker the kernel's OOM killer takes a job (of 1,000)."""
DEFAULT_PATH: Final = b"/usr/local/bin:/usr/bin:/bin"
TRANSIENT: Final = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})
"""Errors of a moment in which processes, memory or descriptors are used up."""
_ALL_SIGNALS: Final = [number for number in signal.valid_signals() if number not in (signal.SIGKILL, signal.SIGSTOP)]


class CannotStart(Exception):
    """The command cannot be run; `exit_code` is what a shell would say (127 not found, 126 not to be run)."""

    def __init__(self, words: str, exit_code: int | None) -> None:
        super().__init__(words)
        self.words = words
        self.exit_code = exit_code


class OomScore:
    """The worker's own OOM score, and the higher one that a process started meanwhile inherits."""

    def __init__(self) -> None:
        self._descriptor: int | None = None
        with contextlib.suppress(OSError, ValueError):
            descriptor = os.open("/proc/self/oom_score_adj", os.O_RDWR | os.O_CLOEXEC)
            self._low = os.read(descriptor, 16).strip()
            self._high = b"%d" % min(1000, int(self._low) + OOM_SCORE_ABOVE)
            self._descriptor = descriptor

    def raise_for_child(self) -> None:
        """Called just before a spawn."""
        self._write(self._high)

    def lower(self) -> None:
        """Called just after it. Where the kernel does not let us down again, worker and job stay alike."""
        self._write(self._low)

    def _write(self, score: bytes) -> None:
        if self._descriptor is not None:
            try:
                os.pwrite(self._descriptor, score, 0)
            except OSError:
                os.close(self._descriptor)
                self._descriptor = None


class Runner:
    """Starts commands, one at a time."""

    def __init__(self) -> None:
        self._null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        self._oom = OomScore()
        self.marks = Marks()

    def start(
        self,
        job: Mapping[str, Any],
        environ: Mapping[bytes, bytes],
        outputs: tuple[int, int],
        stdin_end: int | None = None,
        mark: int | None = None,
    ) -> int:
        """The pid of the job's leader, with descriptors 1 and 2 from `outputs`, and `stdin_end` for 0 where given.

        It and all that it starts bear `mark`, one of `self.marks`.

        Raises CannotStart, or OSError with an errno in TRANSIENT when it is worth trying again.
        """
        command = job["command"]
        if stdin_end is not None:
            return self._start_in_folder(job, command, environ, (stdin_end, *outputs), mark)
        text = job.get("stdin")
        stdin = self._null if text is None else _stdin_of(text.encode("utf-8", "surrogateescape"))
        try:
            return self._start_in_folder(job, command, environ, (stdin, *outputs), mark)
        finally:
            if stdin != self._null:
                os.close(stdin)

    def _start_in_folder(
        self,
        job: Mapping[str, Any],
        command: str | list[str],
        environ: Mapping[bytes, bytes],
        descriptors: tuple[int, int, int],
        mark: int | None,
    ) -> int:
        cwd = job["cwd"]
        try:
            os.chdir(cwd.encode("utf-8", "surrogateescape"))
        except OSError as error:
            if error.errno in TRANSIENT:
                raise
            raise CannotStart(f"cannot change to the folder {cwd!r}: {error.strerror}", None) from error
        try:
            if job["umask"] != WORKER_UMASK:
                os.umask(job["umask"])
            self._oom.raise_for_child()
            self.marks.apply(mark)
            if isinstance(command, str):
                return _spawn_shell(job["shell"], command, environ, descriptors)
            return _spawn_argv(command, environ, descriptors)
        finally:
            self.marks.clear()
            self._oom.lower()
            if job["umask"] != WORKER_UMASK:
                os.umask(WORKER_UMASK)
            os.chdir("/")  # an idle worker keeps no folder busy


def _spawn_shell(
    shell: Sequence[str], command: str, environ: Mapping[bytes, bytes], descriptors: tuple[int, int, int]
) -> int:
    # A shell takes `-x` or `+e` behind its `-c` for options of its own, whatever comes after it. A blank before it is
    # nothing to any shell.
    text = f" {command}" if command.startswith(("-", "+")) else command
    argv = [part.encode("utf-8", "surrogateescape") for part in (*shell, text)]
    try:
        return _spawn(argv[0], argv, environ, descriptors)
    except OSError as error:
        if error.errno in TRANSIENT:
            raise
        raise CannotStart(f"the shell {shell[0]!r} cannot be run: {_why(error)}", None) from error


def _spawn_argv(command: Sequence[str], environ: Mapping[bytes, bytes], descriptors: tuple[int, int, int]) -> int:
    argv = [text.encode("utf-8", "surrogateescape") for text in command]
    try:
        path = _find(argv[0], environ.get(b"PATH", DEFAULT_PATH))
        try:
            return _spawn(path, argv, environ, descriptors)
        except OSError as error:
            if error.errno != errno.ENOEXEC:
                raise
            # A script without its `#!` line: execvp(3) gives it to the shell, so do we.
            return _spawn(b"/bin/sh", [b"/bin/sh", path, *argv[1:]], environ, descriptors)
    except OSError as error:
        if error.errno in TRANSIENT:
            raise
        code = {errno.ENOENT: 127, errno.ENOTDIR: 127, errno.EACCES: 126, errno.ENOEXEC: 126}.get(error.errno or 0)
        raise CannotStart(f"{command[0]!r} cannot be run: {_why(error)}", code) from error


def _find(name: bytes, path: bytes) -> bytes:
    """The program as execvp(3) finds it, by the job's PATH. Raises FileNotFoundError or PermissionError."""
    if b"/" in name:
        return name
    seen = False
    for folder in path.split(b":"):
        candidate = os.path.join(folder or b".", name)
        if _is_file(candidate):
            if os.access(candidate, os.X_OK):
                return candidate
            seen = True
    if seen:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    raise FileNotFoundError(errno.ENOENT, "not found in PATH")


def _is_file(path: bytes) -> bool:
    """Whether there is a file. Raises OSError when that cannot be told now."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError as error:
        if error.errno in TRANSIENT:
            raise
        return False


def _spawn(path: bytes, argv: list[bytes], environ: Mapping[bytes, bytes], descriptors: tuple[int, int, int]) -> int:
    stdin, stdout, stderr = descriptors
    return os.posix_spawn(
        path,
        argv,
        environ,
        file_actions=(
            (os.POSIX_SPAWN_DUP2, stdin, 0),
            (os.POSIX_SPAWN_DUP2, stdout, 1),
            (os.POSIX_SPAWN_DUP2, stderr, 2),
        ),
        setsid=True,
        setsigdef=_ALL_SIGNALS,
        setsigmask=(),
    )


def _stdin_of(data: bytes) -> int:
    """A read-only descriptor on `data`. A file in memory needs nobody to feed it, however large it is."""
    writable = os.memfd_create("stdin", os.MFD_CLOEXEC)
    try:
        written = 0
        while written < len(data):
            written += os.write(writable, data[written:])
        return os.open(f"/proc/self/fd/{writable}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(writable)


def _why(error: OSError) -> str:
    if error.errno == errno.E2BIG:
        return "the command or its environment is too long (Argument list too long)"
    return error.strerror or str(error)


class PeakMemory:
    """Tells a job's high-water mark of memory from this worker's own.

    Linux begins a process's mark with that of the memory it was spawned from (exec_mmap in fs/exec.c): ours.
    """

    def __init__(self) -> None:
        self._ours_kib = 0

    def of_job(self, max_rss_kib: int) -> int | None:
        """The most memory the job held, in KiB; None where the figure may be this worker's own."""
        if max_rss_kib > self._ours_kib:
            # Ours seldom grows, so it is read again only where that could make a difference.
            try:
                with open("/proc/self/status", "rb") as status:
                    self._ours_kib = next(int(line.split()[1]) for line in status if line.startswith(b"VmHWM"))
            except OSError:  # no descriptor is left
                return None
        return max_rss_kib if max_rss_kib > self._ours_kib else None


peak_memory = PeakMemory()
