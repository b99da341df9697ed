"""States, error codes, event kinds and other fixed words.

Each word of the wire, the store and the output is defined here once.
"""

from enum import StrEnum


class _Word(StrEnum):
    """A StrEnum with the fast hash of str; that of Enum is a Python function."""

    __hash__ = str.__hash__


class JobState(_Word):
    """State of a job."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    DEAD = "dead"
    HELD = "held"
    BLOCKED = "blocked"
    CANCELLED = "cancelled"


ENDED_STATES = frozenset({JobState.COMPLETED, JobState.DEAD, JobState.CANCELLED})
"""States of a job that will not run again by itself."""
WAITING_STATES = frozenset({JobState.PENDING, JobState.FAILED, JobState.HELD, JobState.BLOCKED})
"""States of a job that will run but is not running."""


class ReasonCode(_Word):
    """Why a job or an attempt did not succeed. The text in `reason` begins with it."""

    EXIT = "exit"
    SIGNAL = "signal"
    TIMEOUT = "timeout"
    STALLED = "stalled"
    CANNOT_START = "cannot-start"
    CRASH_LIMIT = "crash-limit"
    INTERRUPTED = "interrupted"
    CANCELLED = "cancelled"
    DEPENDENCY = "dependency"
    CRASHED = "crashed"
    """Only for an attempt: its worker crashed, and the job runs again."""


class ErrorCode(_Word):
    """Why a request was refused."""

    INVALID_PARAMS = "invalid_params"
    UNKNOWN_METHOD = "unknown_method"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    WRONG_STATE = "wrong_state"
    GONE = "gone"
    TOO_LARGE = "too_large"
    VERSION = "version"
    BUSY = "busy"
    NO_SPACE = "no_space"
    INTERNAL = "internal"


class EventKind(_Word):
    """Kind of an event. `job.<state>`: a job has changed to that state."""

    JOB_PENDING = "job.pending"
    JOB_PROCESSING = "job.processing"
    JOB_COMPLETED = "job.completed"
    JOB_FAILED = "job.failed"
    JOB_DEAD = "job.dead"
    JOB_HELD = "job.held"
    JOB_BLOCKED = "job.blocked"
    JOB_CANCELLED = "job.cancelled"
    JOB_EDITED = "job.edited"
    JOB_PAUSED = "job.paused"
    JOB_RESUMED = "job.resumed"
    JOB_REMOVED = "job.removed"
    JOBS_ADDED = "jobs.added"
    """A batch was stored: one event for all of its jobs, `first_seq` to `last_seq`."""
    JOBS_REMOVED = "jobs.removed"
    """Old jobs were pruned: one event for `count` of them."""
    QUEUE_CHANGED = "queue.changed"
    CONFIG_CHANGED = "config.changed"
    WORKER_STARTED = "worker.started"
    WORKER_ENDED = "worker.ended"


class WorkerState(_Word):
    """State of a worker."""

    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    DRAINING = "draining"
    """Finishes its current job, takes no other, then ends."""
    LOST = "lost"
    """Its process lives, but it has no connection to this daemon yet."""
