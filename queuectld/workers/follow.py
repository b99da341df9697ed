"""The output of a running execution as its worker tells it, for everybody who follows it."""

import asyncio
from collections.abc import Mapping

from queuectld.domain.job import Output


class FollowedRun:
    """Shared by all followers of one execution: where its output stands, and whether it is over."""

    def __init__(self) -> None:
        self.output: Mapping[str, Output] | None = None
        self.over = False
        self._changed = asyncio.Event()

    async def changed(self) -> None:
        """Return at the next change."""
        await self._changed.wait()

    def told(self, output: Mapping[str, Output]) -> None:
        """The worker said where the output stands now."""
        self.output = output
        self._wake()

    def finish(self) -> None:
        """Its outcome is stored, or its worker is gone."""
        self.over = True
        self._wake()

    def _wake(self) -> None:
        # Everybody who waits now is woken; who waits later waits for the next change.
        self._changed.set()
        self._changed = asyncio.Event()
