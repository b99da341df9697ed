"""Exit code of a command that waited for a job."""

from collections.abc import Mapping
from typing import Any, Final

from queuectl_client.protocol.vocabulary import ENDED_STATES, ReasonCode

TIMED_OUT: Final = 124
CANCELLED: Final = 130


def has_ended(job: Mapping[str, Any]) -> bool:
    """Whether it will not run again by itself."""
    return job["state"] in ENDED_STATES


def exit_code(job: Mapping[str, Any]) -> int:
    """The job's own exit code: 128 + n for a signal, 124 for a time-out, 130 when it was cancelled.

    1 for a job that has none (it could not start, or its worker crashed too often), and for one that has not ended.
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
