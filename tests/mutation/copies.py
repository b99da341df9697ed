"""A copy of the checkout with an interpreter of its own, which imports the copy and nothing of the original."""

import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
SCRIPTS: Final = ("queuectl", "queuectld")
STARTUP: Final = (
    'import os; os.getenv("PYTEST_CURRENT_TEST") and os.getenv("COVERAGE_PROCESS_START")'
    ' and __import__("coverage").process_startup()'
)
"""A line of a .pth file, executed by every interpreter of the copy: the processes that a test starts are measured."""


class Copy:
    """A folder with the tracked files of the checkout and `.venv`, which borrows the installed packages."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for name in filter(None, tracked.split("\0")):
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)
        # Tests of the tree ask git what is tracked.
        for command in (["init", "-q"], ["add", "-A"]):
            subprocess.run(["git", *command], cwd=folder, check=True)
        self._make_interpreter()

    @property
    def python(self) -> str:
        """The interpreter that imports this copy."""
        return str(self.folder / ".venv/bin/python")

    def _make_interpreter(self) -> None:
        home = self.folder / ".venv"
        venv.create(home, with_pip=False)
        packages = home / f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
        # The paths are added in this order. A .pth file in the second one, such as that of the editable
        # install of the original, is not read.
        (packages / "copy.pth").write_text(f"{self.folder}\n{sysconfig.get_path('purelib')}\n{STARTUP}\n")
        for name in SCRIPTS:
            lines = (Path(sys.executable).parent / name).read_text().splitlines(keepends=True)
            script = home / "bin" / name
            script.write_text(f"#!{self.python}\n" + "".join(lines[1:]))
            script.chmod(0o755)
