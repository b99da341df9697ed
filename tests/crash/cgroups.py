"""A control group for a test's daemon, as systemd would give it one, where this machine lets us."""

import contextlib
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from queuectld.workerwire import cgroup
from tests.support.eventually import eventually

MARKS: Final = ("user.delegate", "trusted.delegate")


class Scratch:
    """A group of our own, with a python that starts in it."""

    def __init__(self, path: Path, python: Path) -> None:
        self.path = path
        self.python = str(python)

    def groups(self) -> set[str]:
        """The names of the groups below it."""
        return {entry.name for entry in self.path.iterdir() if entry.is_dir()}

    def remove(self) -> None:
        """End everybody in it."""

        def gone() -> bool:
            for pid in cgroup.pids(str(self.path)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, 9)  # nobody was ever moved here that a test had not started
            return cgroup.remove(str(self.path))

        eventually(gone, deadline=20, message=f"{self.path} is not empty")


def printed(python: str, code: str) -> str:
    """What this python prints."""
    return subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=30, check=True).stdout


@contextlib.contextmanager
def scratch(folder: Path, *, delegated: bool) -> Iterator[Scratch | None]:
    """A new group, marked as delegated or not; None where we may not make one and move a process into it."""
    made = _make(folder, delegated)
    try:
        yield made
    finally:
        if made is not None:
            made.remove()


def _make(folder: Path, delegated: bool) -> Scratch | None:
    for above in _where():
        path = above / f"qtest-{uuid.uuid4().hex[:12]}"
        python = folder / "python-in-group"
        python.write_text(f'#!/bin/sh\necho $$ > {path}/cgroup.procs || exit 1\nexec {sys.executable} "$@"\n')
        python.chmod(0o700)
        try:
            path.mkdir()
        except OSError:
            continue
        found = Scratch(path, python)
        if (not delegated or _mark(path)) and subprocess.run([python, "-c", ""], check=False).returncode == 0:
            return found
        found.remove()
    return None


def _where() -> list[Path]:
    own = cgroup.own()
    if own is None:
        return []
    text = Path("/proc/self/cgroup").read_text()
    below = next(line[3:] for line in text.splitlines() if line.startswith("0::"))
    mount = own.removesuffix(below.rstrip("/"))
    return [Path(mount), Path(own)]


def _mark(path: Path) -> bool:
    for name in MARKS:
        with contextlib.suppress(OSError):
            os.setxattr(path, name, b"1")
            return True
    return False
