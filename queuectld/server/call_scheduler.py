"""The order of the calls of one connection: pipelined calls take effect in the order in which they were sent.

Neighbouring calls of one effect run together where that cannot be noticed; a call of another effect waits for those
before it. So `enqueue, enqueue, status` shares one commit, and the status counts both.
"""

from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from queuectl_client.protocol.methods import Effect

CallT = TypeVar("CallT")


MAX_CONCURRENT: Final = {Effect.ADD: 256, Effect.READ: 8, Effect.CHANGE: 1}
"""How many calls of one effect may run at a time. Answers to reads are large (up to 1 MiB), so those are few."""


class CallScheduler(Generic[CallT]):
    """Starts calls as their turn comes and while `may_start`; `start` is called from `put`, `ended` or `go_on`."""

    def __init__(self, start: Callable[[CallT], None], may_start: Callable[[], bool]) -> None:
        self._start = start
        self._may_start = may_start
        self._queued: deque[tuple[Effect, CallT]] = deque()
        self._effect = Effect.READ
        self._running = 0
        self.owed = 0
        """Calls, queued or running, that will be answered by themselves: all but the waiting ones."""
        self.waits = 0
        """Calls, queued or running, that wait for something to happen."""
        self._stopped = False

    def put(self, effect: Effect, call: CallT) -> None:
        """Start the call now, or when its turn comes."""
        if effect is Effect.WAIT:
            self.waits += 1
        else:
            self.owed += 1
        self._queued.append((effect, call))
        self.go_on()

    def ended(self, effect: Effect) -> None:
        """A call of this effect that was started has ended."""
        if effect is Effect.WAIT:
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
            effect, call = self._queued.popleft()
            if effect is not Effect.WAIT:
                self._effect = effect
                self._running += 1
            self._start(call)

    def _is_turn_of(self, effect: Effect) -> bool:
        if self._running == 0:
            return True
        return effect is self._effect and self._running < MAX_CONCURRENT[effect]
