"""A job that its worker and its daemon may not signal, as one that has become root.

As root: daemon and workers run without CAP_KILL, and the job as another user. A plain user cannot have that; for him
it is the signals that lie, in daemon and worker, to a program of one name.
"""

import shlex
import shutil
import sys
from pathlib import Path
from typing import Final

from tests.crash.stage import Stage
from tests.support.other_user import MAY_CHANGE_USER, OTHER_UID

WITHOUT_RIGHT: Final = '#!/bin/sh\nexec setpriv --bounding-set=-kill --inh-caps=-kill {python} "$@"\n'
LIE: Final = """
import os, signal
def _is_it(pid):
    try:
        with open(f"/proc/{pid}/comm") as file:
            return file.read().strip() == "untouchable"
    except OSError:
        return False
_send, _killpg = signal.pidfd_send_signal, os.killpg
def _pidfd_send_signal(fd, number, *rest):
    with open(f"/proc/self/fdinfo/{fd}") as file:
        pid = next(line.split()[1] for line in file if line.startswith("Pid:"))
    if _is_it(pid):
        raise PermissionError(1, "Operation not permitted")
    return _send(fd, number, *rest)
def _lying_killpg(group, number):
    if _is_it(group):
        raise PermissionError(1, "Operation not permitted")
    return _killpg(group, number)
signal.pidfd_send_signal, os.killpg = _pidfd_send_signal, _lying_killpg
"""


def untouchable(stage: Stage, job: str) -> str:
    """Return a command that records its run as Marks do, and that the next daemon may not signal."""
    note = f'echo "s $QUEUECTL_RUN" >> {stage.marks.folder}/{job}'
    if MAY_CHANGE_USER:
        python = stage.home.path / "python"
        python.write_text(WITHOUT_RIGHT.format(python=shlex.quote(sys.executable)))
        python.chmod(0o700)
        stage.restarter.python = str(python)
        return f"{note}; exec setpriv --reuid={OTHER_UID} --regid={OTHER_UID} --clear-groups sleep 1000"
    lie = stage.home.path / "lie"
    lie.mkdir(exist_ok=True)
    (lie / "sitecustomize.py").write_text(LIE)
    stage.restarter.env = {"PYTHONPATH": str(lie)}
    program = Path(shutil.copy(shutil.which("sleep") or "/bin/sleep", stage.home.path / "untouchable"))
    return f"{note}; exec {program} 1000"
