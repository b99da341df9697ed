"""The interface through which the scheduler controls running executions. Implemented by the worker pool."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from queuectld.domain.job import Output


class LiveOutput(Protocol):
    """The output of one running execution, as last reported by its worker."""

    @property
    def output(self) -> Mapping[str, Output] | None:
        """The output by stream; None before the first report."""
        ...

    @property
    def over(self) -> bool:
        """Whether the outcome is stored, or the worker is gone."""
        ...

    async def changed(self) -> None:
        """Wait until `output` grows or the execution is over."""
        ...


class Capacity(NamedTuple):
    """How many workers take any job, now or after their current one, and how many job slots there are.

    Draining workers and those that wait for their client count in neither. A worker dedicated to one job counts only
    in `slots`.
    """

    workers: int
    slots: int


class RunControl(Protocol):
    """Controls executions, addressed by worker id and `(seq, run)`. Calls do not wait for their effect."""

    def kill(self, worker: int, seq: int, run: int, *, grace_ms: int, why: str) -> None:
        """Send TERM to all processes of the job, and KILL after `grace_ms`."""
        ...

    def signal(self, worker: int, seq: int, run: int, number: int) -> None:
        """Send a signal to all processes of the job."""
        ...

    def pause(self, worker: int, seq: int, run: int, *, paused: bool) -> None:
        """Send STOP or CONT to all processes of the job; its timeout is suspended meanwhile."""
        ...

    def follow(self, worker: int, seq: int, run: int) -> LiveOutput | None:
        """Return the live output of an execution, or None if the worker does not run it."""
        ...

    async def send(self, worker: int, seq: int, run: int, data: bytes, *, eof: bool) -> str | None:
        """Write to the stdin of the job, and close it afterwards if `eof`.

        Returns None once the worker has the data, else a key of `scheduler.jobs.stdin.REFUSALS`.
        """
        ...

    def worker_count(self) -> int:
        """Return the number of workers."""
        ...

    def capacity(self) -> Capacity:
        """Return how many workers take jobs."""
        ...

    def why_unavailable(self) -> str | None:
        """Explain why none of the workers takes jobs. None if one does, or there are no workers."""
        ...

    def is_recovered(self, worker: int) -> bool:
        """Whether this worker is gone and its run is being recovered."""
        ...
