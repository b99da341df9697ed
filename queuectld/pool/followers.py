"""The live output of running executions, as reported by their workers, for clients that follow it."""

import asyncio
from collections.abc import Mapping
from typing import Any

from queuectld.domain.job import Output
from queuectld.pool.outcomes import outputs_from_map
from queuectld.pool.process import RunKey, Worker


class FollowedOutput:
    """The live output of one execution, shared by all its followers."""

    def __init__(self) -> None:
        self.output: Mapping[str, Output] | None = None
        self.over = False
        self._changed = asyncio.Event()

    async def changed(self) -> None:
        """Wait for the next change."""
        await self._changed.wait()

    def told(self, output: Mapping[str, Output]) -> None:
        """Update the output from a report of the worker."""
        self.output = output
        self._wake()

    def finish(self) -> None:
        """Mark it as over: the outcome is stored, or the worker is gone."""
        self.over = True
        self._wake()

    def _wake(self) -> None:
        # Wake the current waiters; later ones wait for the next change.
        self._changed.set()
        self._changed = asyncio.Event()


class OutputFollowers:
    """All executions that are followed."""

    def __init__(self) -> None:
        self._runs: dict[RunKey, FollowedOutput] = {}

    def follow(self, worker: Worker | None, key: RunKey) -> FollowedOutput | None:
        """Return the live output of this execution, or None if this worker does not run it."""
        if key in self._runs:
            return self._runs[key]
        if worker is None or worker.job != key:
            return None
        followed = self._runs[key] = FollowedOutput()
        self.resume(worker, key)
        return followed

    def resume(self, worker: Worker, key: RunKey) -> None:
        """Ask the worker again for reports, if the execution is followed."""
        if key in self._runs and worker.link is not None:
            worker.link.send("follow", {"seq": key.seq, "run": key.run, "on": True})

    def told(self, body: Mapping[str, Any]) -> None:
        """Handle an `output` frame."""
        followed = self._runs.get(RunKey(body["seq"], body["run"]))
        if followed is not None:
            followed.told(outputs_from_map(body["output"]))

    def over(self, key: RunKey) -> None:
        """End the following of an execution."""
        followed = self._runs.pop(key, None)
        if followed is not None:
            followed.finish()
