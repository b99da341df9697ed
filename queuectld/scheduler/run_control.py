"""What the scheduler may ask of a running execution. Implemented by the pool of workers."""

from collections.abc import Mapping
from typing import Protocol

from queuectld.domain.job import Output


class Follow(Protocol):
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


class Hands(Protocol):
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

    def follow(self, worker: int, seq: int, run: int) -> Follow | None:
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

    def all_wait_for_clients(self) -> bool:
        """Whether there are workers, and all of them belong to clients that have not come back to this daemon."""
        ...
