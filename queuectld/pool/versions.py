"""The message for a worker with another protocol version: worker and daemon come from different installations."""

from collections.abc import Mapping
from typing import Any

from queuectld.workerwire.frames import PROTOCOL


def mismatch(worker: str, hello: Mapping[str, Any]) -> str:
    """Describe a version mismatch and which side to upgrade; empty if there is none."""
    spoken = hello.get("protocol")
    if spoken == PROTOCOL:
        return ""
    side = "it ends after its job, and one of this version takes its place"
    if isinstance(spoken, int) and spoken > PROTOCOL:
        side = "the daemon is older than what is installed; upgrade it with: queuectl daemon restart"
    return f"worker {worker} (version {hello.get('version')}) speaks protocol {spoken}, this daemon {PROTOCOL}: {side}"
