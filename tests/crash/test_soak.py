"""The soak, short. The long one is a command: see tests/crash/soak.py."""

import random
import subprocess
import sys

import pytest

from tests.crash.soak import ROOT

KILLS = 40
JOBS = 200


@pytest.mark.timeout(600)  # it is as long as the machine is busy; what it waits for has deadlines of its own
def test_two_homes_survive_kills_and_stops() -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")  # shown when it fails
    words = ["--seed", str(seed), "--kills", str(KILLS), "--jobs", str(JOBS)]
    command = [sys.executable, "-m", "tests.crash.soak", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stderr
