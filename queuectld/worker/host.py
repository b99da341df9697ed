"""The worker as seen by its execution. Only for type checkers: no process imports it."""

from typing import Any, Protocol

from queuectld.worker.deadlines import Deadlines
from queuectld.worker.loop import Loop
from queuectld.worker.pipes import Pipes
from queuectld.worker.process_tree import ProcessTree
from queuectld.worker.runner import Runner
from queuectld.worker.uplink import Uplink
from queuectld.workerwire.outputfiles import OutputFiles


class Host(Protocol):
    """The part of the worker that an execution uses."""

    number: int
    state_fd: int
    identity: dict[str, Any]
    loop: Loop
    runner: Runner
    tree: ProcessTree
    pipes: Pipes
    deadlines: Deadlines
    uplink: Uplink

    @property
    def execution(self) -> object:
        """The current execution."""

    def files_for(self, stream: str) -> OutputFiles:
        """Return the output files of a stream."""

    def finished(self, outcome: dict[str, Any]) -> None:
        """Report the outcome of the execution."""

    def not_begun(self, seq: int, run: int, short: str | None) -> None:
        """Report that the run did not start, for no fault of the job."""

    def log(self, words: str) -> None:
        """Write a line to the daemon's log."""

    def discard(self, whose: str, pipe: int) -> None:
        """Take over the reading end of a pipe that a leftover process still writes to."""
