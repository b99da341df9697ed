"""Schedules the calls of one connection: pipelined calls take effect in the order sent.

Consecutive calls with the same effect run concurrently where that is not observable; a call with another effect waits
for those before it. So `enqueue, enqueue, status` shares one commit, and the status counts both jobs.
"""

from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from queuectl_client.protocol.methods import Effect

CallT = TypeVar("CallT")


MAX_CONCURRENT: Final = {Effect.ADD: 256, Effect.READ: 8, Effect.CHANGE: 1}
"""Concurrent calls by effect. Answers of reads may be large (up to 1 MiB), so few of them run at a time."""


class CallScheduler(Generic[CallT]):
    """Starts calls in order while `may_start()`; `start` is called from `put`, `ended` or `go_on`."""

    def __init__(self, start: Callable[[CallT], None], may_start: Callable[[], bool]) -> None:
        self._start = start
        self._may_start = may_start
        self._queued: deque[tuple[Effect, CallT]] = deque()
        self._effect = Effect.READ
        self._running = 0
        self.owed = 0
        """Calls, queued or running, except waiting ones."""
        self.waits = 0
        """Waiting calls, queued or running."""
        self._stopped = False

    def put(self, effect: Effect, call: CallT) -> None:
        """Queue a call, and start it when its turn comes."""
        if effect is Effect.WAIT:
            self.waits += 1
        else:
            self.owed += 1
        self._queued.append((effect, call))
        self.go_on()

    def ended(self, effect: Effect) -> None:
        """Record that a started call with this effect has ended."""
        if effect is Effect.WAIT:
            self.waits -= 1
        else:
            self.owed -= 1
            self._running -= 1
        self.go_on()

    def stop(self) -> None:
        """Drop the queue and start no more calls."""
        self._stopped = True
        self._queued.clear()

    def go_on(self) -> None:
        """Start all calls whose turn has come."""
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
