"""Cool-down of a worker that lacks descriptors, memory or processes to start a job."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from queuectld.pool.process import Worker

LONGEST_COOLDOWN_S: Final = 30

log = logging.getLogger(__name__)


def cool_down(worker: Worker, short: str, wake: Callable[[], None]) -> None:
    """Give the worker no jobs for a while, then call `wake`. The delay doubles until it starts a job."""
    if not worker.failed_starts:  # log once
        log.warning("worker %s cannot start a job (%s); it gets no jobs for a while", worker.name, short)
    pause_s = min(2**worker.failed_starts, LONGEST_COOLDOWN_S)
    worker.failed_starts += 1
    worker.is_cooling_down = True

    def over() -> None:
        worker.is_cooling_down = False
        wake()

    asyncio.get_running_loop().call_later(pause_s, over)
