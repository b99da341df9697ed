"""What some tests need and a fresh machine may not have: programs that no package index brings, and a right.

Tests name it with `needs("strace")`. Where it is missing they are left out, and the end of the run says so; with CI set
(as `.ci/run` does, which installs all of it) they run all the same, and fail.
"""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import pytest

needs = pytest.mark.needs
MOUNTING: Final = "mounting"
_CAP_SYS_ADMIN: Final = 21  # <linux/capability.h>


def may_mount() -> bool:
    """Whether this process may mount file systems. Root in a container often may not."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> _CAP_SYS_ADMIN & 1)
    return False


def _installed(program: str) -> Callable[[], bool]:
    return lambda: shutil.which(program) is not None


_IS_HERE: Final[Mapping[str, Callable[[], bool]]] = {
    **{program: _installed(program) for program in ("strace", "systemd-analyze", "zsh", "fish")},
    MOUNTING: lambda: os.geteuid() != 0 or may_mount(),  # as a plain user these tests get by without
}


def missing() -> list[str]:
    """What is not here, of all that a test may need."""
    return [name for name, is_here in _IS_HERE.items() if not is_here()]


def needed_by(item: pytest.Item) -> set[str]:
    """What a test needs. Raises KeyError for a name that is not known here."""
    names = {name for mark in item.iter_markers("needs") for name in mark.args}
    for name in names:
        _IS_HERE[name]
    return names
