"""Fixtures for all tests. No test may reach the queue of the person who runs them."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.support import programs
from tests.support.daemon import Home

# What the shell of a developer sets must not change what is tested: PYTHONUNBUFFERED hides what is never flushed.
for _name in [name for name in os.environ if name.startswith(("QUEUECTL_", "PYTHONUNBUFFERED"))]:
    del os.environ[_name]
# A test that forgets its home must not start a daemon in the real one. Home's environment leaves this out.
os.environ["QUEUECTL_NO_AUTOSTART"] = "1"

settings.register_profile("queuectl", deadline=None)  # how long an example takes says nothing on a busy machine
settings.load_profile("queuectl")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what this machine cannot run, so that the rest tells something. Where all has to run, it fails."""
    missing = set() if os.environ.get("CI") else set(programs.missing())
    left_out = [item for item in items if programs.needed_by(item) & missing]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was left out: with xdist it is the workers that leave it out, and they are not heard."""
    missing = programs.missing()
    if missing:
        verb = "their tests failed" if os.environ.get("CI") else "the few tests that need these were left out"
        terminalreporter.write_line(f"Not on this machine: {', '.join(missing)}; {verb}. .ci/run installs what it can.")


@pytest.fixture
def home() -> Iterator[Home]:
    """A home of its own; afterwards its processes are ended, its store is checked, its folder removed."""
    made = Home()
    try:
        yield made
        made.stop()
        assert not made.broken_promises()
    finally:
        made.stop()
        made.remove()
