"""The methods of the wire: what a call does, whether it waits, whether it may be made again, how long an answer takes.

Both sides go by this table: the daemon orders the calls of a connection by their effect, a client knows from it what
it may repeat and when the daemon counts as silent. `messages.REQUESTS` has the parameters; it is apart because the
command line needs this table with every call and those classes with none.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final, NamedTuple


class Effect(Enum):
    """What calls do to one another."""

    ADD = "add"
    """Adds jobs. Those that follow one another reach the writer's queue in their order, and share a commit."""
    READ = "read"
    """Changes nothing."""
    CHANGE = "change"
    """Looks jobs up and changes them: on its own."""
    WAIT = "wait"
    """Waits for something to happen. It starts in its turn and holds nobody up afterwards."""


class Answer(Enum):
    """How soon a call is answered."""

    SOON = "soon"
    LATER = "later"
    """It makes the daemon do much."""
    TIMEOUT = "timeout"
    """Within its parameter `timeout`; without one, whenever a job ends."""
    WHENEVER = "whenever"
    """When it is done, however long that takes."""


class Method(NamedTuple):
    """One method."""

    effect: Effect
    answer: Answer = Answer.SOON
    same_when_repeated: bool = False
    """Whether a change made twice is as if made once."""
    on_jobs: bool = False
    """Whether it acts on `ids`: a selector without a `limit` may stand for so many that it takes any time."""
    wait: bool | None = None
    """What its parameter `wait` is when it is not given; None: it has none."""

    def waits(self, params: Mapping[str, Any]) -> bool:
        """Whether a call with these parameters waits for something to happen, because of `wait`."""
        return self.wait is not None and params.get("wait", self.wait) is True

    def may_repeat(self, params: Mapping[str, Any]) -> bool:
        """Whether a call whose answer was lost may be made again: it reads, or its `request` or nature allows it."""
        only_looks = self.effect is Effect.READ or self.answer is Answer.TIMEOUT
        return only_looks or self.same_when_repeated or params.get("request") is not None


_READ: Final = Method(Effect.READ)
_CHANGE: Final = Method(Effect.CHANGE)
_SETTING: Final = Method(Effect.CHANGE, same_when_repeated=True)
_ON_JOBS: Final = Method(Effect.CHANGE, on_jobs=True)

METHODS: Final[Mapping[str, Method]] = {
    "enqueue": Method(Effect.ADD),
    "enqueue_many": Method(Effect.ADD, Answer.LATER),
    # Of a batch that was opened over a connection that is lost nothing is left.
    "batch.open": Method(Effect.ADD, same_when_repeated=True),
    "batch.add": Method(Effect.ADD, Answer.LATER),
    # Once the jobs before it are stored, or refused.
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
    # It may wait for a job of hours to end, so it holds up nobody.
    "worker.stop": Method(Effect.WAIT, wait=True),
    "worker.list": _READ,
    "worker.scale": Method(Effect.CHANGE, Answer.LATER),
    "daemon.info": _READ,
    "daemon.drain": _CHANGE,
    "daemon.shutdown": Method(Effect.WAIT, Answer.WHENEVER),
    "events.subscribe": _CHANGE,
}
UNKNOWN: Final = _CHANGE
"""What is taken for granted of a method that is not known here."""
