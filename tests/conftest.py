"""Fixtures for all tests. No test may reach the queue of the person who runs them."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.support.daemon import Home

# What the shell of a developer sets must not change what is tested: PYTHONUNBUFFERED hides what is never flushed.
for _name in [name for name in os.environ if name.startswith(("QUEUECTL_", "PYTHONUNBUFFERED"))]:
    del os.environ[_name]
# A test that forgets its home must not start a daemon in the real one. Home's environment leaves this out.
os.environ["QUEUECTL_NO_AUTOSTART"] = "1"

settings.register_profile("queuectl", deadline=None)  # how long an example takes says nothing on a busy machine
settings.load_profile("queuectl")


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
