"""Converts between worker frames and domain objects."""

from collections.abc import Mapping
from typing import Any

from queuectld.domain.job import PROCESS_OPTIONS, Claimed, Output
from queuectld.domain.outcome import EndKind, Outcome, Survivor


def outcome_from_map(body: Mapping[str, Any]) -> Outcome:
    """Decode an `ended` frame or a spool file. Raises KeyError, ValueError or TypeError if malformed.

    Checks every type: the outcome is stored in one transaction with those of other workers.
    """
    return Outcome(
        seq=int(body["seq"]),
        run=int(body["run"]),
        kind=EndKind(body["kind"]),
        started_ms=int(body["started_ms"]),
        finished_ms=int(body["finished_ms"]),
        duration_ms=int(body["duration_ms"]),
        exit_code=_number(body.get("exit_code")),
        signal=_number(body.get("signal")),
        words=_text(body.get("words")) or "",
        worker=_number(body.get("worker")),
        pid=_number(body.get("pid")),
        user_us=_number(body.get("user_us")),
        system_us=_number(body.get("system_us")),
        max_rss_kib=_number(body.get("max_rss_kib")),
        left_behind=_text(body.get("left_behind")),
        survivors=tuple(_survivor(*each) for each in body.get("survivors") or ()),
        output=outputs_from_map(body.get("output") or {}),
    )


def outputs_from_map(body: Mapping[str, Any]) -> dict[str, Output]:
    """Decode the output by stream. Raises ValueError or TypeError if malformed."""
    if not isinstance(body, Mapping):
        raise TypeError("output is not a map")
    return {stream: _output(*where) for stream, where in body.items()}


def _output(size: int, inline: bytes | None, files: list[Any]) -> Output:
    if not isinstance(inline, bytes | None):
        raise TypeError("output is not bytes")
    pieces = tuple((str(_text(name)), int(first), int(length)) for name, first, length in files)
    return Output(int(size), inline, pieces)


def _survivor(pid: Any, start_time: Any, boot_id: Any, session: Any, name: Any, denied: Any) -> Survivor:
    return Survivor(int(pid), int(start_time), str(boot_id), int(session), str(name), bool(denied))


def _number(value: Any) -> int | None:
    return None if value is None else int(value)


def _text(value: Any) -> str | None:
    if isinstance(value, str | None):
        return value
    raise TypeError(f"expected text, got {type(value).__name__}")


def run_body(claimed: Claimed, *, shell: list[str], socket: str, log_max_bytes: int) -> dict[str, Any]:
    """Build the body of a `run` frame, without the environment."""
    body = claimed._asdict()
    options = body.pop("options")
    return {
        **body,
        **{name: getattr(options, name) for name in PROCESS_OPTIONS},
        "env": dict(options.env),
        "shell": shell,
        "socket": socket,
        "log_max_bytes": log_max_bytes,
    }
