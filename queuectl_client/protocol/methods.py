"""Properties of the methods: the effect of a call, whether it waits, whether it may be repeated, its answer time.

Used by both sides: the daemon orders the calls of a connection by their effect; clients decide what to repeat and how
long to wait. The parameters are in `messages.REQUESTS`, a separate module because clients need only this table.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final, NamedTuple


class Effect(Enum):
    """Effect of a call on other calls."""

    ADD = "add"
    """Adds jobs. Consecutive ones are queued to the writer in order and share a commit."""
    READ = "read"
    """Changes nothing."""
    CHANGE = "change"
    """Reads and changes jobs: runs alone."""
    WAIT = "wait"
    """Waits for an event. Starts in order and does not block later calls."""


class Answer(Enum):
    """How soon the daemon answers a call."""

    SOON = "soon"
    LATER = "later"
    """Takes the daemon much work."""
    TIMEOUT = "timeout"
    """Within its parameter `timeout`; without one, when a job ends."""
    WHENEVER = "whenever"
    """When done, without a limit."""


class Method(NamedTuple):
    """Properties of a method."""

    effect: Effect
    answer: Answer = Answer.SOON
    same_when_repeated: bool = False
    """Whether it is idempotent."""
    on_jobs: bool = False
    """Whether it acts on `ids`: a selector without a `limit` may match any number of jobs, and take any time."""
    wait: bool | None = None
    """Default of its parameter `wait`; None: it has none."""

    def waits(self, params: Mapping[str, Any]) -> bool:
        """Return whether a call with these parameters waits for an event, because of `wait`."""
        return self.wait is not None and params.get("wait", self.wait) is True

    def may_repeat(self, params: Mapping[str, Any]) -> bool:
        """Return whether a call may be repeated: it only reads, is idempotent, or has a `request` id."""
        only_looks = self.effect is Effect.READ or self.answer is Answer.TIMEOUT
        return only_looks or self.same_when_repeated or params.get("request") is not None


_READ: Final = Method(Effect.READ)
_CHANGE: Final = Method(Effect.CHANGE)
_SETTING: Final = Method(Effect.CHANGE, same_when_repeated=True)
_ON_JOBS: Final = Method(Effect.CHANGE, on_jobs=True)

METHODS: Final[Mapping[str, Method]] = {
    "enqueue": Method(Effect.ADD),
    "enqueue_many": Method(Effect.ADD, Answer.LATER),
    # An open batch is discarded with its connection.
    "batch.open": Method(Effect.ADD, same_when_repeated=True),
    "batch.add": Method(Effect.ADD, Answer.LATER),
    # After the jobs before it are stored or refused.
    "batch.commit": Method(Effect.CHANGE, Answer.LATER),
    "status": _READ,
    "list": _READ,
    "job.get": _READ,
    "job.explain": _READ,
    "job.logs": Method(Effect.READ, wait=False),
    "job.wait": Method(Effect.WAIT, Answer.TIMEOUT),
    "job.cancel": _ON_JOBS,
    "job.kill": _ON_JOBS,
    "job.pause": _ON_JOBS,
    "job.resume": _ON_JOBS,
    "job.hold": _ON_JOBS,
    "job.release": _ON_JOBS,
    "job.retry": _ON_JOBS,
    "job.remove": Method(Effect.CHANGE, Answer.LATER, on_jobs=True),
    "job.send": Method(Effect.WAIT, Answer.WHENEVER),
    "job.edit": _CHANGE,
    "job.move": _CHANGE,
    "job.prune": Method(Effect.CHANGE, Answer.WHENEVER),
    "dlq.list": _READ,
    "dlq.retry": Method(Effect.CHANGE, Answer.WHENEVER),
    "dlq.purge": Method(Effect.CHANGE, Answer.WHENEVER),
    "config.get": _READ,
    "config.list": _READ,
    "config.set": _SETTING,
    "config.unset": _SETTING,
    "queue.list": _READ,
    "queue.set": _SETTING,
    "queue.pause": Method(Effect.CHANGE, same_when_repeated=True, wait=False),
    "queue.resume": _SETTING,
    "queue.remove": _CHANGE,
    "worker.start": Method(Effect.CHANGE, Answer.LATER),
    # May wait for hours for a job to end, so it must not block other calls.
    "worker.stop": Method(Effect.WAIT, wait=True),
    "worker.list": _READ,
    "worker.scale": Method(Effect.CHANGE, Answer.LATER),
    "daemon.info": _READ,
    "daemon.drain": _CHANGE,
    "daemon.shutdown": Method(Effect.WAIT, Answer.WHENEVER),
    "events.subscribe": _CHANGE,
}
UNKNOWN: Final = _CHANGE
"""Properties assumed of an unknown method."""
