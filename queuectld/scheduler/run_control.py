"""What the scheduler may ask of a running execution. Implemented by the pool of workers."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from queuectld.domain.job import Output


class LiveOutput(Protocol):
    """The output of one running execution, as far as its worker has told."""

    @property
    def output(self) -> Mapping[str, Output] | None:
        """By stream; None until the worker has told for the first time."""
        ...

    @property
    def over(self) -> bool:
        """Whether the execution has ended and its outcome is stored (or its worker is gone)."""
        ...

    async def changed(self) -> None:
        """Return when `output` has grown or the execution is over."""
        ...


class Capacity(NamedTuple):
    """How many workers take any job, now or when they have ended another one; and how many take jobs at all.

    Neither counts those that were told to end, or that wait for their client. A worker that is kept for one job is
    none of the former, but brings a slot.
    """

    workers: int
    slots: int


class RunControl(Protocol):
    """The running executions, by worker id and `(seq, run)`. Each call is a request to the worker, not a wait."""

    def kill(self, worker: int, seq: int, run: int, *, grace_ms: int, why: str) -> None:
        """Begin the kill ladder: TERM to all of the job, KILL after `grace_ms`."""
        ...

    def signal(self, worker: int, seq: int, run: int, number: int) -> None:
        """Send one signal to all of the job."""
        ...

    def pause(self, worker: int, seq: int, run: int, *, paused: bool) -> None:
        """STOP or CONT to all of the job; its time-out stands still meanwhile."""
        ...

    def follow(self, worker: int, seq: int, run: int) -> LiveOutput | None:
        """The output of a running execution; None when no such worker is known."""
        ...

    async def send(self, worker: int, seq: int, run: int, data: bytes, *, eof: bool) -> str | None:
        """Give the job this to read, and the end of its stdin behind it at `eof`.

        None once its worker has it; else why not, one of `sending.REFUSALS`.
        """
        ...

    def worker_count(self) -> int:
        """How many workers there are."""
        ...

    def capacity(self) -> Capacity:
        """How many workers there are to take jobs."""
        ...

    def why_unavailable(self) -> str | None:
        """Why there are workers and none of them takes a job, in words; None where one does, or there are none."""
        ...

    def is_recovered(self, worker: int) -> bool:
        """Whether this worker is gone, and what it ran is being ended."""
        ...
