"""The order of the calls of one connection: pipelined calls take effect in the order in which they were sent.

Neighbouring calls of one kind run together where that cannot be noticed; a call of another kind waits for those
before it. So `enqueue, enqueue, status` shares one commit, and the status counts both.
"""

from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Final, Generic, TypeVar

CallT = TypeVar("CallT")


class Kind(Enum):
    """What calls do to one another."""

    ADD = "add"
    """Adds jobs. Those that follow one another reach the writer's queue in their order, and share a commit."""
    READ = "read"
    """Changes nothing."""
    CHANGE = "change"
    """Looks jobs up and changes them: on its own."""
    WAIT = "wait"
    """Waits for something to happen. It starts in its turn and holds nobody up afterwards."""


TOGETHER: Final = {Kind.ADD: 256, Kind.READ: 8, Kind.CHANGE: 1}
"""How many calls of a kind may run at a time. Answers to reads are large (up to 1 MiB), so those are few."""


class CallOrder(Generic[CallT]):
    """Starts calls as their turn comes and while `may_start`; `start` is called from `put`, `ended` or `go_on`."""

    def __init__(self, start: Callable[[CallT], None], may_start: Callable[[], bool]) -> None:
        self._start = start
        self._may_start = may_start
        self._queued: deque[tuple[Kind, CallT]] = deque()
        self._kind = Kind.READ
        self._running = 0
        self.owed = 0
        """Calls, queued or running, that will be answered by themselves: all but the waiting ones."""
        self.waits = 0
        """Calls, queued or running, that wait for something to happen."""
        self._stopped = False

    def put(self, kind: Kind, call: CallT) -> None:
        """Start the call now, or when its turn comes."""
        if kind is Kind.WAIT:
            self.waits += 1
        else:
            self.owed += 1
        self._queued.append((kind, call))
        self.go_on()

    def ended(self, kind: Kind) -> None:
        """A call of this kind that was started has ended."""
        if kind is Kind.WAIT:
            self.waits -= 1
        else:
            self.owed -= 1
            self._running -= 1
        self.go_on()

    def stop(self) -> None:
        """Start no more calls: nobody would read their answers."""
        self._stopped = True
        self._queued.clear()

    def go_on(self) -> None:
        """Start the calls whose turn has come."""
        while self._queued and not self._stopped and self._is_turn_of(self._queued[0][0]) and self._may_start():
            kind, call = self._queued.popleft()
            if kind is not Kind.WAIT:
                self._kind = kind
                self._running += 1
            self._start(call)

    def _is_turn_of(self, kind: Kind) -> bool:
        if self._running == 0:
            return True
        return kind is self._kind and self._running < TOGETHER[kind]
