"""The output of a running execution as its worker tells it, for everybody who follows it."""

import asyncio
from collections.abc import Mapping
from typing import Any

from queuectld.domain.job import Output
from queuectld.pool.outcomes import outputs_from_map
from queuectld.pool.process import RunKey, Worker


class FollowedOutput:
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


class OutputFollowers:
    """All executions whose output somebody follows."""

    def __init__(self) -> None:
        self._runs: dict[RunKey, FollowedOutput] = {}

    def follow(self, worker: Worker | None, key: RunKey) -> FollowedOutput | None:
        """The output of this execution from now on; None when this worker does not run it."""
        if key in self._runs:
            return self._runs[key]
        if worker is None or worker.job != key:
            return None
        followed = self._runs[key] = FollowedOutput()
        self.resume(worker, key)
        return followed

    def resume(self, worker: Worker, key: RunKey) -> None:
        """Have the worker tell where the output stands, where somebody wants to know."""
        if key in self._runs and worker.link is not None:
            worker.link.send("follow", {"seq": key.seq, "run": key.run, "on": True})

    def told(self, body: Mapping[str, Any]) -> None:
        """A worker has told."""
        followed = self._runs.get(RunKey(body["seq"], body["run"]))
        if followed is not None:
            followed.told(outputs_from_map(body["output"]))

    def over(self, key: RunKey) -> None:
        """This execution tells no more."""
        followed = self._runs.pop(key, None)
        if followed is not None:
            followed.finish()
