"""The keys of a job that can be filtered and sorted by, each with its kind; and all keys that a job shows.

What a filter may compare, what `list` sorts by and what a page can be narrowed to is decided here once. This module
knows no grammar and no columns.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """What the values of a key are, and so what they can be compared with."""

    TEXT = "text"
    NUMBER = "number"
    DURATION = "duration"
    TIME = "time"
    STATE = "state"
    SIGNAL = "signal"
    REASON = "reason"
    WORKER = "worker"
    FLAG = "flag"


KINDS: Final[Mapping[str, Kind]] = {
    **dict.fromkeys(("id", "queue", "name", "command", "cwd", "reason", "batch", "unique_key", "key"), Kind.TEXT),
    **dict.fromkeys(
        ("seq", "priority", "attempts", "max_retries", "runs", "crashes", "exit_code", "key_limit", "slots"),
        Kind.NUMBER,
    ),
    **dict.fromkeys(("backoff_base", "backoff_max", "backoff_jitter"), Kind.NUMBER),
    **dict.fromkeys(("created_at", "updated_at", "run_at", "started_at", "finished_at"), Kind.TIME),
    **dict.fromkeys(("duration", "age", "timeout", "stall_timeout", "kill_grace"), Kind.DURATION),
    **dict.fromkeys(("paused", "once", "hold", "ready", "split_output"), Kind.FLAG),
    "state": Kind.STATE,
    "signal": Kind.SIGNAL,
    "reason_code": Kind.REASON,
    "worker": Kind.WORKER,
}
"""`duration` is how long the newest run took, or has taken; `age` is the time since the job was enqueued."""

COMPUTED: Final = frozenset({"duration", "age"})
"""Keys that depend on the time at which they are asked for, and so stand in no job."""

SHOWN: Final = (
    "id", "seq", "command", "state", "attempts", "max_retries", "created_at", "updated_at", "queue", "priority",
    "run_at", "started_at", "finished_at", "exit_code", "signal", "reason", "reason_code", "worker", "cwd", "name",
    "labels", "depends_on", "timeout", "stall_timeout", "kill_grace", "runs", "crashes", "backoff_base", "backoff_max",
    "backoff_jitter", "retry_on", "no_retry_on", "batch", "unique_key", "on_conflict", "key", "key_limit", "slots",
    "needs", "granted", "hold", "once", "paused", "ready", "split_output", "stdin_open", "umask", "env_names",
    "stdin_bytes", "run", "rev",
)  # fmt: skip
"""The keys of a job as it is shown, in their order."""
