"""The test support itself: its waits fail with what they saw, and it ends only its own processes."""

import subprocess
import sys

import pytest

from tests.support import processes
from tests.support.daemon import Home
from tests.support.eventually import eventually

SLEEPER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]


def test_eventually_returns_the_first_true_value() -> None:
    values = iter([0, None, 7, 8])
    assert eventually(lambda: next(values)) == 7


def test_eventually_shows_the_last_value() -> None:
    with pytest.raises(AssertionError, match=r"all gone after 0\.05 s; last value: \[\]"):
        eventually(list, deadline=0.05, message="all gone")


def test_eventually_shows_the_last_assertion() -> None:
    def look() -> bool:
        raise AssertionError("3 jobs are left")

    with pytest.raises(AssertionError, match="3 jobs are left"):
        eventually(look, deadline=0.05)


def test_a_home_ends_its_own_processes_and_no_others(home: Home) -> None:
    other = Home()
    ours = subprocess.Popen(SLEEPER, env=home.env, stdout=subprocess.PIPE, start_new_session=True)
    stranger = subprocess.Popen(SLEEPER, env=other.env, stdout=subprocess.PIPE)
    try:
        for process in (ours, stranger):
            assert process.stdout is not None
            process.stdout.readline()
        assert processes.processes_of(home.path) == [ours.pid]
        home.stop()
        assert processes.processes_of(home.path) == []
        assert ours.wait(timeout=10) == -9
        assert stranger.poll() is None
    finally:
        other.stop()
        stranger.wait(timeout=10)
        for process in (ours, stranger):
            assert process.stdout is not None
            process.stdout.close()
        other.remove()
