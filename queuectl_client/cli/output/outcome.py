"""Exit code of a command that waited for a job."""

from collections.abc import Mapping
from typing import Any, Final

from queuectl_client.protocol.vocabulary import ENDED_STATES, ReasonCode

TIMED_OUT: Final = 124
CANCELLED: Final = 130


def has_ended(job: Mapping[str, Any]) -> bool:
    """Return whether the job will not run again by itself."""
    return job["state"] in ENDED_STATES


def exit_code(job: Mapping[str, Any]) -> int:
    """Return the job's exit code: 128 + n for a signal, 124 for a time-out, 130 if it was cancelled.

    1 if it has none (it could not start, or its worker crashed too often) or has not ended.
    """
    if job["state"] == "completed":
        return 0
    if job["state"] == "cancelled":
        return CANCELLED
    if job.get("reason_code") in (ReasonCode.TIMEOUT, ReasonCode.STALLED):
        return TIMED_OUT
    if job.get("signal") is not None:
        return 128 + int(job["signal"])
    code = job.get("exit_code")
    return int(code) if code else 1
