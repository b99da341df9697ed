"""The soak, short. The long one is a command: see tests/crash/soak.py."""

import random

import pytest

from tests.crash.soak import Soak, figures
from tests.crash.stage import Stage

ROUNDS = (100, 100)


@pytest.mark.timeout(400)  # it is as long as the machine is busy; what it waits for has deadlines of its own
def test_two_hundred_jobs_survive_random_kills(stage: Stage) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")  # shown when it fails
    soak = Soak(stage, seed)
    with stage.keeper:
        soak.prepare()
        for count in ROUNDS:
            soak.round(count)
    print(figures(soak))
    assert soak.kills.total() > len(ROUNDS)
