"""A fake daemon with a real worker process at its socket."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fakedaemon import FakeDaemon


@pytest.fixture
def idle_daemon() -> Iterator[FakeDaemon]:
    """A fake daemon in a folder of its own; the test starts the worker. Afterwards nothing of it is left running."""
    home = Path(tempfile.mkdtemp(prefix="qw", dir="/tmp"))
    daemon = FakeDaemon(home)
    try:
        yield daemon
    finally:
        daemon.close()
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def daemon(idle_daemon: FakeDaemon) -> FakeDaemon:
    """A fake daemon whose worker waits for a job."""
    idle_daemon.start_worker()
    return idle_daemon
