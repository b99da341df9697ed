"""What an execution asks of the worker that it runs in. For type checkers alone: no process loads it."""

from typing import Any, Protocol

from queuectld.worker.deadlines import Deadlines
from queuectld.worker.loop import Loop
from queuectld.worker.pipes import Pipes
from queuectld.worker.process_tree import ProcessTree
from queuectld.worker.runner import Runner
from queuectld.worker.uplink import Uplink
from queuectld.workerwire.outputfiles import OutputFiles


class Host(Protocol):
    """The worker, as its executions know it."""

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
        """The execution in hand."""

    def files_for(self, stream: str) -> OutputFiles:
        """The files that this stream of any run of this worker is written to."""

    def finished(self, outcome: dict[str, Any]) -> None:
        """The execution is over."""

    def not_begun(self, seq: int, run: int, short: str | None) -> None:
        """This run did not begin, and it is not the job's fault."""

    def log(self, words: str) -> None:
        """A line for the daemon's log."""

    def discard(self, whose: str, pipe: int) -> None:
        """Take over the reading end of a pipe that something left behind still holds."""
