"""Starts the process of a job, which inherits nothing else from the worker.

It gets descriptors 0, 1 and 2, a new session, default signal dispositions, an empty signal mask, and the folder, umask
and environment it was submitted with. `posix_spawn` does not copy the worker's memory. The worker sets its own folder,
umask, OOM score and mark for the call, which is safe as it has one thread.
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
"""Added to the OOM score of jobs (of 1,000), so that they are killed before the daemon and workers."""
DEFAULT_PATH: Final = b"/usr/local/bin:/usr/bin:/bin"
TRANSIENT: Final = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})
"""Errors of a temporary lack of processes, memory or descriptors."""
_ALL_SIGNALS: Final = [number for number in signal.valid_signals() if number not in (signal.SIGKILL, signal.SIGSTOP)]


class CannotStart(Exception):
    """The command cannot be run. `exit_code` is that of a shell: 127 if not found, 126 if not executable."""

    def __init__(self, words: str, exit_code: int | None) -> None:
        super().__init__(words)
        self.words = words
        self.exit_code = exit_code


class OomScore:
    """The worker's OOM score, raised during a spawn so that the child inherits the higher one."""

    def __init__(self) -> None:
        self._descriptor: int | None = None
        with contextlib.suppress(OSError, ValueError):
            descriptor = os.open("/proc/self/oom_score_adj", os.O_RDWR | os.O_CLOEXEC)
            self._low = os.read(descriptor, 16).strip()
            self._high = b"%d" % min(1000, int(self._low) + OOM_SCORE_ABOVE)
            self._descriptor = descriptor

    def raise_for_child(self) -> None:
        """Call just before a spawn."""
        self._write(self._high)

    def lower(self) -> None:
        """Call just after a spawn. If the kernel denies it, the worker keeps the score of jobs."""
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
        """Start the leader of the job and return its pid. Its stdout and stderr are `outputs`.

        `stdin_end` is its stdin if given. It and its descendants have `mark`, one of `self.marks`.
        Raises CannotStart, or OSError with an errno in TRANSIENT if it may be tried again.
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
            # So that the folder can be unmounted while the worker is idle. An error must not hide that the
            # process was started.
            with contextlib.suppress(OSError):
                os.chdir("/")


def _spawn_shell(
    shell: Sequence[str], command: str, environ: Mapping[bytes, bytes], descriptors: tuple[int, int, int]
) -> int:
    # A shell takes a command that starts with `-` or `+` for its own options, even after `-c`; a blank prevents this.
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
            # A script without a `#!` line: run it with the shell, like execvp(3).
            return _spawn(b"/bin/sh", [b"/bin/sh", path, *argv[1:]], environ, descriptors)
    except OSError as error:
        if error.errno in TRANSIENT:
            raise
        code = {errno.ENOENT: 127, errno.ENOTDIR: 127, errno.EACCES: 126, errno.ENOEXEC: 126}.get(error.errno or 0)
        raise CannotStart(f"{command[0]!r} cannot be run: {_why(error)}", code) from error


def _find(name: bytes, path: bytes) -> bytes:
    """Search a program in the job's PATH like execvp(3). Raises FileNotFoundError or PermissionError."""
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
    """Whether it is a regular file. Raises OSError if that cannot be checked."""
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
    """Return a read-only descriptor on `data`: a file in memory, which needs no writer as a pipe does."""
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
    """Distinguishes the peak memory of a job from that of this worker.

    On Linux, the peak of a spawned process starts with that of its parent (exec_mmap in fs/exec.c).
    """

    def __init__(self) -> None:
        self._ours_kib = 0

    def of_job(self, max_rss_kib: int) -> int | None:
        """Return the peak memory of the job in KiB; None if the value may be that of the worker."""
        if max_rss_kib > self._ours_kib:
            # The worker's peak seldom grows, so it is read again only if it could matter.
            try:
                with open("/proc/self/status", "rb") as status:
                    self._ours_kib = next(int(line.split()[1]) for line in status if line.startswith(b"VmHWM"))
            except OSError:  # no free descriptor
                return None
        return max_rss_kib if max_rss_kib > self._ours_kib else None


peak_memory = PeakMemory()
