"""System calls that fail, a sample of them. All of them are tried by a command: see tests/crash/inject.py."""

import random
from itertools import islice

import pytest

from tests.crash.calls import DAEMON, ERRORS, WITHOUT, WORKER
from tests.crash.inject import trials
from tests.crash.injection import Trial, run
from tests.support.programs import needs

SEED = 11
SAMPLE = [str(trial) for trial in islice(trials(random.Random(SEED)), 12)]
"""The same at each time, so that a failure is one of the change that is tried."""


@needs("strace")
@pytest.mark.timeout(300)  # what it waits for has deadlines of its own
@pytest.mark.parametrize("text", SAMPLE)
def test_a_call_that_fails_harms_nobody(text: str) -> None:
    print(f"seed {SEED}")
    assert run(Trial.parse(text)).faults == []


def test_every_call_that_is_listed_has_errors() -> None:
    assert {*DAEMON, *WORKER} <= ERRORS.keys()
    assert not ERRORS.keys() & set(WITHOUT)


@pytest.mark.parametrize(
    "text", ["worker:running:sendto:ENOBUFS", "worker:later:sendto:ENOBUFS:1", "client:start:a:b:1"]
)
def test_a_trial_that_is_misspelt_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"unpack|is not daemon"):
        Trial.parse(text)
