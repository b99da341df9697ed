"""A job in the model of the store: as it is asked for, and what is known of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from queuectl_client.protocol.vocabulary import ErrorCode, JobState
from queuectld.domain.retry import RetryPolicy

S = JobState
CRASH_LIMIT: Final = 3
THREE_TIMES: Final = RetryPolicy(3, 2, 3600)
ENDED: Final = frozenset({S.COMPLETED, S.DEAD, S.CANCELLED})
WAITING: Final = frozenset({S.PENDING, S.FAILED, S.HELD, S.BLOCKED})
STARTABLE: Final = frozenset({S.PENDING, S.FAILED})
LIMITS: Final[Mapping[str, int]] = {"k": 1, "l": 2}
"""By key: how many of it may run at once."""
BATCH: Final = 0
"""The number that stands for all of a batch, among the parents of a job."""


class Refusal(Exception):
    """The store must refuse this, with this code, and change nothing."""

    def __init__(self, code: ErrorCode) -> None:
        super().__init__(code)
        self.code = code

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Refusal) and other.code is self.code

    def __hash__(self) -> int:
        return hash(self.code)


@dataclass
class RequestedJob:
    """A job as it is asked for. `parents` are numbers of jobs, or BATCH, and how each is to end."""

    queue: str = "default"
    priority: int = 0
    policy: RetryPolicy = THREE_TIMES
    delay_ms: int = 0
    run_at_ms: int | None = None
    hold: bool = False
    once: bool = False
    parents: tuple[tuple[int, str], ...] = ()
    unique: str | None = None
    on_conflict: str = "error"
    key: str | None = None
    batch: bool = False


@dataclass
class ModelJob:
    """What is known of a job. `ready`: its time has come, once for all, until it has run or is given another time."""

    seq: int
    requested: RequestedJob
    priority: int
    key: str | None
    rank: float
    hidden: bool = False
    state: JobState = S.PENDING
    attempts: int = 0
    runs: int = 0
    crashes: int = 0
    run: int = 0
    worker: int | None = None
    ending: int | None = None
    due_ms: int | None = None
    run_at_ms: int | None = None
    ready: bool = False
    parents: dict[int, str] = field(default_factory=dict)
    ended_runs: list[int] = field(default_factory=list)

    @property
    def in_hand(self) -> bool:
        """Whether a worker still has processes of it."""
        return self.worker is not None or self.ending is not None
