"""Converts the changes of an edit request to stored values."""

from collections.abc import Callable, Mapping
from typing import Any

from queuectl_client.protocol.attributes import EDITABLE
from queuectl_client.protocol.vocabulary import ErrorCode
from queuectld.domain.errors import Refused
from queuectld.domain.retry import RetryPolicy
from queuectld.scheduler.jobs.submission import decided, refuse_unmet


def stored_changes(changes: Mapping[str, Any], setting: Callable[[str], Any]) -> dict[str, Any]:
    """Return the checked changes by field name, durations in milliseconds. None resets a field to its default."""
    stored: dict[str, Any] = {}
    retry: dict[str, Any] = {}
    if "delay" in changes and "run_at" in changes:
        raise Refused(ErrorCode.INVALID_PARAMS, "a job can have delay or run_at, not both", {"key": "run_at"})
    refuse_unmet(changes.get("slots"), changes.get("needs") or {}, setting)
    for key, given in changes.items():
        attribute = EDITABLE.get(key)
        if attribute is None:
            message = f"{key!r} cannot be edited; editable: {', '.join(EDITABLE)}"
            raise Refused(ErrorCode.INVALID_PARAMS, message, {"key": key})
        if given is None and attribute.required:
            raise Refused(ErrorCode.INVALID_PARAMS, f"{key} cannot be empty", {"key": key})
        (retry if key in RetryPolicy._fields else stored)[attribute.field] = decided(attribute, given, setting)
    return stored | {"retry": retry} if retry else stored
