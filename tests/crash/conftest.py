"""The stage of a crash."""

from collections.abc import Iterator

import pytest

from tests.crash.stage import Stage
from tests.support.daemon import Home


@pytest.fixture
def stage(home: Home) -> Iterator[Stage]:
    """A home with a daemon that comes back; the test enters `stage.restarter`."""
    made = Stage(home)
    try:
        yield made
    finally:
        made.close()
