"""Runs the tests of one mutant, the fastest first, until one fails."""

import os
import shutil
import signal
import subprocess
from collections import Counter
from pathlib import Path
from typing import Final, NamedTuple

from tests.mutation import mutants
from tests.mutation.copies import ROOT, Copy
from tests.mutation.covering import Lines
from tests.mutation.mutants import Mutant

FAST: Final = ("unit", "store", "component", "compat", "bench")
MOST_TESTS: Final = 400
"""Test functions for one mutant: a line that more than these execute is seldom missed by all of them."""
SLOW_TESTS: Final = 40
LIMIT_SECONDS: Final = 600
_OF_WORKERS: Final = "tests/component/test_worker_*.py"
UNMEASURED: Final = {"queuectld/worker/": _OF_WORKERS, "queuectld/workerwire/": _OF_WORKERS}
"""Tests of what runs in worker processes: tests end these with SIGKILL, so they leave no measurement."""


IMPORTED: Final = ("tests/unit", "tests/store")


class Verdict(NamedTuple):
    """What became of a mutant: who noticed it, or that nobody did."""

    mutant: Mutant
    noticed_by: str
    tests: int

    @property
    def survived(self) -> bool:
        """Whether no test noticed it."""
        return not self.noticed_by


def judge(copy: Copy, mutant: Mutant, lines: Lines, *, slow: bool) -> Verdict:
    """Make the change in the copy, run its tests, and take the change back."""
    path = copy.folder / mutant.path
    original = path.read_text()
    tests = chosen(mutant, lines, slow=slow)
    if not tests:
        return Verdict(mutant, "", 0)
    path.write_text(mutant.applied(original))
    try:
        return Verdict(mutant, _first_failure(copy, tests), len(tests))
    finally:
        path.write_text(original)


def chosen(mutant: Mutant, lines: Lines, *, slow: bool) -> list[str]:
    """The tests to run for a mutant: those that execute its line, or the one it stands in, else any of its file."""
    found = lines.get(mutant.path, {})
    tests: list[str] = []
    if mutants.is_in_function((ROOT / mutant.path).read_text(), mutant.line):
        line = next((line for line in range(mutant.line, max(0, mutant.line - 5), -1) if line in found), None)
        tests = list(found[line]) if line is not None else []
    if not tests:  # executed when it is imported, seldom by a test: whoever uses the file may notice
        counted = Counter(test for covering in found.values() for test in covering)
        tests = [test for test, _ in counted.most_common(MOST_TESTS)]
    for folder, pattern in UNMEASURED.items():
        if mutant.path.startswith(folder):
            files = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob(pattern))
            tests = [*(test for test in tests if test.split("::")[0] not in files), *files]
    if not tests:  # it has no line but such as are executed when it is imported
        tests = list(IMPORTED)
    fast = [test for test in tests if test.split("/")[1] in FAST]
    others = [test for test in tests if test not in set(fast)]
    return fast[:MOST_TESTS] if not slow else others[:SLOW_TESTS]


def _first_failure(copy: Copy, tests: list[str]) -> str:
    """The first failing test, as pytest names it; empty when none failed."""
    home = Path(copy.folder, "home")
    home.mkdir(exist_ok=True)
    command = [copy.python, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:randomly"]
    command += ["--timeout", "60", "--no-header", "-rf", "--tb", "no", *tests]
    with subprocess.Popen(
        command,
        cwd=copy.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env=os.environ | {"HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"},
    ) as process:
        try:
            said, _ = process.communicate(timeout=LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            said = "timeout"
    shutil.rmtree(home, ignore_errors=True)
    if process.returncode == 0:
        return ""
    failed = [line.split(" ")[1] for line in said.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    return (failed or [said.strip()[-200:] or f"exit {process.returncode}"])[0]
