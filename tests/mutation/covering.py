"""Which tests execute which line, in the test's own process or in any that it starts."""

import json
import os
import re
import sqlite3
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tests.mutation.copies import Copy

# A process that a test starts inherits pytest's name of that test, and measures for it: see copies.STARTUP.
SETTINGS: Final = """\
[run]
source = queuectld,queuectl_client
parallel = true
patch = _exit
context = ${PYTEST_CURRENT_TEST-}
data_file = %s/.coverage
"""
ORDER: Final = ("unit", "store", "component", "compat", "bench", "e2e", "crash")
"""The folders of tests, the fastest first."""

Lines = dict[str, dict[int, list[str]]]
"""File, line: the ids of its tests, the fastest folder first."""


def measure(copy: Copy, folders: Iterable[str]) -> Lines:
    """Run these folders of tests once in the copy, and read who executed what."""
    data = copy.folder / "coverage"
    data.mkdir()
    settings = data / "settings"
    settings.write_text(SETTINGS % data)
    command = [copy.python, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider"]
    command += [f"--cov-config={settings}", "--cov", "--cov-context=test", "--cov-report="]
    environ = os.environ | {"COVERAGE_PROCESS_START": str(settings)}
    subprocess.run([*command, *(f"tests/{name}" for name in folders)], cwd=copy.folder, check=False, env=environ)
    # What was written by processes that outlived pytest's own combining. Some were killed while they wrote.
    if list(data.glob(".coverage.*")):
        combine = [copy.python, "-m", "coverage", "combine", "-q", "--append", f"--rcfile={settings}", str(data)]
        subprocess.run(combine, cwd=copy.folder, check=False)
    return _read(data / ".coverage", copy.folder)


def save(lines: Lines, path: Path) -> None:
    """Keep the map for another run."""
    path.write_text(json.dumps(lines))


def load(path: Path) -> Lines:
    """The map of an earlier run. Raises OSError, ValueError."""
    kept = json.loads(path.read_text())
    return {file: {int(line): tests for line, tests in found.items()} for file, found in kept.items()}


def _read(path: Path, root: Path) -> Lines:
    from coverage.numbits import numbits_to_nums

    lines: Lines = {}
    with sqlite3.connect(path) as connection:
        rows = connection.execute(
            "SELECT file.path, context.context, line_bits.numbits FROM line_bits"
            " JOIN file ON file.id = line_bits.file_id JOIN context ON context.id = line_bits.context_id"
        )
        for file, context, bits in rows:
            test = _test_of(context)
            if test is None or not Path(file).is_relative_to(root):
                continue
            found = lines.setdefault(str(Path(file).relative_to(root)), {})
            for line in numbits_to_nums(bits):
                found.setdefault(line, []).append(test)
    for found in lines.values():
        for line, tests in found.items():
            found[line] = sorted(set(tests), key=_rank)
    return lines


def _test_of(context: str) -> str | None:
    """The test's function in `tests/x.py::test_y[z]|run` or `… (call)`: all cases of one function go together."""
    found = re.search(r"tests/\w+/\w+\.py::\w+", context)
    return found[0] if found else None


def _rank(test: str) -> tuple[int, str]:
    folder = test.split("/")[1]
    return (ORDER.index(folder) if folder in ORDER else len(ORDER)), test
