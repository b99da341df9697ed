"""Makes the golden frames of protocol 1: `python -m tests.compat.make_golden_frames`.

Run once when a protocol version is new, and check the file in. Never make it again for a released version:
that these bytes, as a client sent them then, are still understood is what the test is for.
"""

import json
from pathlib import Path
from typing import Any

from queuectl_client.protocol import rpc

GOLDEN = Path(__file__).with_name("golden") / "frames-v1.jsonl"

JOB = {
    "command": ["printf", "%s\n", "ü"],
    "id": "nightly-1",
    "name": "nightly",
    "labels": {"team": "a"},
    "queue": "slow",
    "priority": -5,
    "max_retries": 2,
    "backoff_base": 1.5,
    "backoff_max": 60,
    "backoff_jitter": 0.5,
    "retry_on": [75, "SIGKILL"],
    "no_retry_on": [2],
    "timeout": 600,
    "kill_grace": 5,
    "delay": 0.25,
    "cwd": "/tmp/\udcff",
    "env": {"TOKEN": "x"},
    "stdin": "in",
    "depends_on": ["job_1", {"id": "job_2", "on": "any"}, {"batch": "week", "on": "dead"}],
    "batch": "day",
    "key": "customer-7",
    "key_limit": 2,
    "slots": 2,
    "needs": {"gpu": 1, "mem": "4G"},
    "stall_timeout": 30,
    "unique_key": "k",
    "on_conflict": "skip",
    "hold": True,
    "once": True,
    "split_output": True,
    "stdin_open": True,
}

REQUEST = "2f1c9a52-7f6e-4c0b-9d35-0a3f5d9a7c11"

CALLS: list[tuple[str, dict[str, Any]]] = [
    ("hello", {"client": "queuectl 0.1.0", "protocol": 1}),
    ("enqueue", JOB | {"environment": {"PATH": "/bin", "ODD": "\udcfe"}, "umask": 0o022, "request": REQUEST}),
    ("enqueue", {"command": "echo hi", "runAt": "2030-01-01T00:00:00Z", "maxRetries": 0}),
    ("enqueue_many", {"jobs": [{"command": "true"}, JOB], "defaults": {"queue": "slow"}, "request": REQUEST}),
    ("batch.open", {"defaults": {"priority": 1}}),
    ("batch.add", {"token": "t", "jobs": [{"command": "true"}]}),
    ("batch.commit", {"token": "t", "request": REQUEST}),
    ("status", {}),
    ("list", {"state": ["dead", "failed"], "queue": "slow", "label": {"team": "a"}, "limit": 10, "after": "7"}),
    ("list", {"state": "dead", "name": "n*", "since": "2026-01-01T00:00:00Z", "ids": ["3-9"], "order": "newest"}),
    ("job.get", {"id": "17"}),
    ("job.wait", {"ids": ["17"], "any": True, "timeout": 1.5}),
    ("job.wait", {}),
    ("job.logs", {"id": "17", "attempt": 2, "stream": "stderr", "offset": -10, "limit": 4096, "wait": True}),
    ("job.cancel", {"ids": ["last", "label:team=a"]}),
    ("job.kill", {"ids": ["17"], "signal": "HUP"}),
    ("job.send", {"id": "17", "data": "yes\n", "eof": True}),
    ("job.pause", {"ids": ["17"]}),
    ("job.resume", {"ids": ["17"]}),
    ("job.hold", {"id": "17"}),
    ("job.release", {"ids": ["17"]}),
    ("job.retry", {"ids": ["@failed"]}),
    ("job.remove", {"ids": ["17"]}),
    ("job.edit", {"id": "17", "changes": {"priority": 3, "timeout": None}, "rev": 12}),
    ("job.move", {"id": "17", "before": "9"}),
    ("job.explain", {"id": "17"}),
    ("dlq.list", {"limit": 10, "after": "7"}),
    ("dlq.retry", {"all": True}),
    ("dlq.purge", {"all": True, "older_than": 604800}),
    ("config.get", {"key": "maxRetries"}),
    ("config.set", {"key": "backoffBase", "value": "2"}),
    ("config.list", {}),
    ("config.unset", {"key": "timeout"}),
    ("queue.list", {}),
    ("queue.set", {"name": "slow", "concurrency": 2, "rate": "10/m", "failure_limit": 3}),
    ("queue.pause", {"name": "slow"}),
    ("queue.resume", {"name": "slow"}),
    ("worker.start", {"count": 3, "detach": True}),
    ("worker.start", {"pool": 2}),
    ("worker.start", {"job": "17"}),
    ("worker.stop", {"count": 1, "now": True, "wait": False}),
    ("worker.list", {}),
    ("worker.scale", {"count": 4}),
    ("daemon.info", {}),
    ("daemon.drain", {"resume": True}),
    ("daemon.shutdown", {"now": True}),
    ("events.subscribe", {"since": 12, "kinds": ["job.dead"], "job": "17", "queue": "slow", "pool": 1}),
    ("ping", {}),
    ("job.prune", {"states": ["completed", "dead"], "older_than": 604800}),
    ("job.wait", {"ids": ["1-100000", "label:team=a"], "timeout": 60, "limit": 0}),
    ("job.wait", {"ids": ["@dead"], "any": True, "keys": ["id", "state"], "limit": 250}),
    ("job.wait", {"after": "0123456789abcdef.1.1000", "timeout": 0}),
    ("list", {"state": ["failed"], "sort": "created_at", "descending": True, "limit": 10}),
    ("queue.remove", {"name": "slow"}),
]


def main() -> None:
    """Write one line for each call: its method, its parameters, and the bytes a client of this version sends."""
    with GOLDEN.open("w") as file:
        for number, (method, params) in enumerate(CALLS):
            frame = rpc.request(number, method, params)
            print(json.dumps({"method": method, "params": params, "frame": frame.hex()}), file=file)


if __name__ == "__main__":
    main()
