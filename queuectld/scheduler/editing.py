"""What may be changed of a job that waits."""

from collections.abc import Mapping
from typing import Any

from queuectl_client.protocol.vocabulary import ErrorCode
from queuectld.domain.errors import Refused
from queuectld.scheduler.submission import milliseconds

EDITABLE = ("command", "name", "labels", "priority", "queue", "timeout", "kill_grace", "cwd")
"""What `edit` may change; the rest is fixed when a job is enqueued."""

REQUIRED = ("command", "priority", "queue", "kill_grace", "cwd")
"""What a job cannot be without."""


def stored_changes(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The checked changes by the store's names, with durations in milliseconds."""
    stored: dict[str, Any] = {}
    for key, value in changes.items():
        if key not in EDITABLE:
            message = f"{key!r} cannot be edited; what can: {', '.join(EDITABLE)}"
            raise Refused(ErrorCode.INVALID_PARAMS, message, {"key": key})
        if value is None and key in REQUIRED:
            raise Refused(ErrorCode.INVALID_PARAMS, f"{key} cannot be empty", {"key": key})
        if key in ("timeout", "kill_grace"):
            stored[f"{key}_ms"] = milliseconds(value)
        else:
            stored[key] = value
    return stored
