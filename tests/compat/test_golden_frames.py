"""What clients of every released version send is still understood, and what they read is still answered."""

import json
from pathlib import Path
from typing import Any

import pytest

from queuectl_client.protocol import rpc
from queuectl_client.protocol.messages import REQUESTS
from tests.support.daemon import Home

GOLDEN = Path(__file__).with_name("golden")
CALLS: list[dict[str, Any]] = [json.loads(line) for line in (GOLDEN / "frames-v1.jsonl").read_text().splitlines()]

# What a client of version 1 may read. Keys are only ever added, so these stay for ever.
JOB_KEYS = [
    "id",
    "seq",
    "command",
    "state",
    "attempts",
    "max_retries",
    "created_at",
    "updated_at",
    "queue",
    "priority",
    "run_at",
    "started_at",
    "finished_at",
    "exit_code",
    "signal",
    "reason",
    "worker",
    "cwd",
    "name",
    "labels",
    "depends_on",
    "timeout",
    "runs",
    "crashes",
]
ATTEMPT_KEYS = [
    "run",
    "attempt",
    "worker",
    "host",
    "started_at",
    "finished_at",
    "duration",
    "exit_code",
    "signal",
    "reason",
    "crashed",
    "pid",
    "user_time",
    "system_time",
    "max_rss_kib",
    "left_behind",
    "output_bytes",
    "output_dropped",
]
STATUS_KEYS = ["counts", "workers", "paused", "event_seq", "pid", "version", "uptime_s"]
WORKER_KEYS = ["id", "pid", "state", "job", "pool", "since", "jobs_done"]


def test_every_method_has_a_golden_frame() -> None:
    assert {call["method"] for call in CALLS} == set(REQUESTS)


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call["method"])
def test_a_frame_of_version_1_says_what_it_said(call: dict[str, Any]) -> None:
    (message,) = rpc.Decoder().feed(bytes.fromhex(call["frame"]))
    assert isinstance(message, rpc.Request)
    assert message.method == call["method"]
    assert as_text(rpc.params_of(message.params)) == call["params"]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call["method"])
def test_a_request_of_version_1_is_accepted(call: dict[str, Any]) -> None:
    (message,) = rpc.Decoder().feed(bytes.fromhex(call["frame"]))
    assert isinstance(message, rpc.Request)
    REQUESTS[message.method].from_map(rpc.params_of(message.params))


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call["method"])
def test_the_frame_is_still_made_of_the_same_bytes(call: dict[str, Any]) -> None:
    """A daemon of version 1 understands this client."""
    frame = bytes.fromhex(call["frame"])
    (message,) = rpc.Decoder().feed(frame)
    assert isinstance(message, rpc.Request)
    assert rpc.request(message.msgid, message.method, call["params"]) == frame


def test_no_key_of_an_answer_has_gone(home: Home) -> None:
    home.start_daemon()
    (worker,) = home.json("worker", "start", "-d")
    home.ok("enqueue", "true")
    home.ok("wait")
    shown = home.json("show", "1")
    assert set(JOB_KEYS) <= shown.keys()
    (attempt,) = shown["attempts_list"]
    assert set(ATTEMPT_KEYS) <= attempt.keys()
    assert set(STATUS_KEYS) <= home.json("status").keys()
    assert set(WORKER_KEYS) <= worker.keys()


def as_text(value: Any) -> Any:
    """A decoded value with bin as the text it stands for, as the layer above the frames reads it."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, dict):
        return {as_text(key): as_text(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_text(item) for item in value]
    return value
