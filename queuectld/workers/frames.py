"""From frames of the worker wire to the domain's words, and back."""

from collections.abc import Mapping
from typing import Any

from queuectld.domain.job import Claimed, Output
from queuectld.domain.outcome import EndKind, Outcome


def outcome_from_map(body: Mapping[str, Any]) -> Outcome:
    """The outcome that an `ended` frame or a spool file tells. Raises KeyError, ValueError or TypeError on rubbish."""
    return Outcome(
        seq=int(body["seq"]),
        run=int(body["run"]),
        kind=EndKind(body["kind"]),
        started_ms=int(body["started_ms"]),
        finished_ms=int(body["finished_ms"]),
        duration_ms=int(body["duration_ms"]),
        exit_code=body.get("exit_code"),
        signal=body.get("signal"),
        words=body.get("words") or "",
        worker=body.get("worker"),
        pid=body.get("pid"),
        user_us=body.get("user_us"),
        system_us=body.get("system_us"),
        max_rss_kib=body.get("max_rss_kib"),
        left_behind=body.get("left_behind"),
        output=outputs_from_map(body.get("output") or {}),
    )


def outputs_from_map(body: Mapping[str, Any]) -> dict[str, Output]:
    """Where each stream's output is."""
    return {
        stream: Output(size, inline, tuple((name, first, length) for name, first, length in files))
        for stream, (size, inline, files) in body.items()
    }


def run_body(claimed: Claimed, *, shell: list[str], socket: str, log_max_bytes: int) -> dict[str, Any]:
    """The body of a `run` frame, without the environment."""
    return {
        **claimed._asdict(),
        "env": dict(claimed.env),
        "shell": shell,
        "socket": socket,
        "log_max_bytes": log_max_bytes,
    }
