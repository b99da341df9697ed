"""A worker that cannot begin a job for want of descriptors, memory or processes gets none for a while."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from queuectld.pool.process import Worker

LONGEST_COOLDOWN_S: Final = 30

log = logging.getLogger(__name__)


def cool_down(worker: Worker, short: str, wake: Callable[[], None]) -> None:
    """Others get the jobs meanwhile. The pause grows until a job begins; after it `wake` is called."""
    if not worker.failed_starts:  # said once, however long it goes on
        log.warning("worker %s cannot begin a job now (%s); others get it, or it later", worker.name, short)
    pause_s = min(2**worker.failed_starts, LONGEST_COOLDOWN_S)
    worker.failed_starts += 1
    worker.is_cooling_down = True

    def over() -> None:
        worker.is_cooling_down = False
        wake()

    asyncio.get_running_loop().call_later(pause_s, over)
