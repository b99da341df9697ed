"""What may be changed of a job that does not run."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from queuectl_client.protocol.vocabulary import ErrorCode
from queuectld.domain.errors import Refused
from queuectld.scheduler.jobs.submission import milliseconds, refuse_unmet

PLAIN: Final = ("command", "name", "labels", "priority", "queue", "cwd", "env", "stdin", "key", "key_limit", "slots")
SETTINGS: Final = ("split_output",)
DURATIONS: Final = ("timeout", "stall_timeout", "kill_grace")
RETRY: Final = ("max_retries", "backoff_base", "backoff_max", "backoff_jitter", "retry_on", "no_retry_on")
OTHERS: Final = ("once", "needs", "depends_on", "delay", "run_at")
EDITABLE: Final = PLAIN + SETTINGS + DURATIONS + RETRY + OTHERS
"""What `edit` may change; the rest is fixed when a job is enqueued."""

EMPTY: Final[Mapping[str, Any]] = {
    "labels": {}, "priority": 0, "queue": "default", "env": {}, "key_limit": 1, "slots": 1, "once": False, "needs": {},
    "depends_on": (), "retry_on": (), "no_retry_on": (), "delay": 0,
}  # fmt: skip
"""What null stands for, where it is not nothing and not a setting."""
REQUIRED: Final = ("command", "cwd")
"""What a job cannot be without."""


def stored_changes(changes: Mapping[str, Any], setting: Callable[[str], Any]) -> dict[str, Any]:
    """The checked changes by the store's names, with durations in milliseconds. Null: back to the default."""
    stored: dict[str, Any] = {}
    retry: dict[str, Any] = {}
    if "delay" in changes and "run_at" in changes:
        raise Refused(ErrorCode.INVALID_PARAMS, "a job can have delay or run_at, not both", {"key": "run_at"})
    refuse_unmet(changes.get("slots"), changes.get("needs") or {}, setting)
    for key, given in changes.items():
        value = _value(key, given, setting)
        if key in RETRY:
            retry[key] = value
        elif key in DURATIONS or key == "delay":
            stored[f"{key}_ms"] = milliseconds(value)
        elif key == "run_at":
            stored["run_at_ms"] = value
        else:
            stored[key] = dict(sorted(value.items())) if key == "needs" else value
    return stored | {"retry": retry} if retry else stored


def _value(key: str, given: Any, setting: Callable[[str], Any]) -> Any:
    if key not in EDITABLE:
        message = f"{key!r} cannot be edited; what can: {', '.join(EDITABLE)}"
        raise Refused(ErrorCode.INVALID_PARAMS, message, {"key": key})
    if given is not None:
        return given
    if key in REQUIRED:
        raise Refused(ErrorCode.INVALID_PARAMS, f"{key} cannot be empty", {"key": key})
    if key in EMPTY:
        return EMPTY[key]
    return setting(key) if key in SETTINGS + DURATIONS + RETRY else None
