"""Commands of `queuectld` that need no daemon: `doctor` and `backup`. Used by `queuectl`."""

import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from queuectl_client import paths as places
from queuectld.doctor import Finding, examine, is_well, repair_store
from queuectld.logs import escaped
from queuectld.store import maintenance
from queuectld.store.maintenance import Progress
from queuectld.store.records import StoreRefused

USAGE = 2
PR_SET_PDEATHSIG = 1
QUIET_S = 0.5
"""No progress is shown before this time."""
CLEAR_LINE = "\r\x1b[K"


def run(verb: str, file: str | None, *, socket: str | None, force: bool, repair: bool = False) -> int:
    """Run `doctor` or `backup`. Returns 0; 1 for problems or a failed backup; 2 for bad usage."""
    paths = places.resolve(socket=socket)
    if verb == "doctor":
        repaired: list[Finding] = repair_store(paths) if repair else []
        with _progress() as progress:
            found = repaired + examine(paths, progress)
        print(json.dumps([finding._asdict() for finding in found]))
        return 0 if is_well(found) else 1
    if file is None:
        print("queuectld: backup requires FILE", file=sys.stderr)
        return USAGE
    try:
        maintenance.back_up(Path(paths.store), Path(file), replace=force)
    except (StoreRefused, OSError) as error:
        print(f"queuectld: backup failed: {escaped(str(error))}", file=sys.stderr)
        return 1
    return 0


def end_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends (prctl(2)). Exits if it has ended already.

    A repair is one transaction and a backup is renamed when complete, so an interruption does no harm.
    """
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


@contextmanager
def _progress() -> Iterator[Progress]:
    """Show progress in one line on a terminal if it takes a while, and clear the line at the end."""
    shown = False
    began = time.monotonic()

    def tell(words: str, step: int, steps: int) -> None:
        nonlocal shown
        if sys.stderr.isatty() and time.monotonic() - began > QUIET_S:
            shown = True
            print(f"{CLEAR_LINE}Looking at the store ({step} of {steps}): {words}", end="", file=sys.stderr, flush=True)

    try:
        yield tell
    finally:
        if shown:
            print(CLEAR_LINE, end="", file=sys.stderr, flush=True)
