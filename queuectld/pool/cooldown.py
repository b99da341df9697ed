"""A worker that cannot begin a job for want of descriptors, memory or processes gets none for a while."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from queuectld.pool.process import Worker

LONGEST_REST_S: Final = 30

log = logging.getLogger(__name__)


def rest(worker: Worker, short: str, wake: Callable[[], None]) -> None:
    """Others get the jobs meanwhile. The pause grows until a job begins; after it `wake` is called."""
    if not worker.times_short:  # said once, however long it goes on
        log.warning("worker %s cannot begin a job now (%s); others get it, or it later", worker.name, short)
    pause_s = min(2**worker.times_short, LONGEST_REST_S)
    worker.times_short += 1
    worker.is_resting = True

    def over() -> None:
        worker.is_resting = False
        wake()

    asyncio.get_running_loop().call_later(pause_s, over)
