"""Values of environment variables reach the job and nobody else: no verb, no answer, no event, no log, no error."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from queuectl_client import Client
from queuectl_client.errors import QueuectlError
from queuectl_client.protocol import rpc
from tests.support.daemon import Home
from tests.support.eventually import eventually
from tests.support.processes import processes_of
from tests.support.raw import answers, connected
from tests.support.terminal import on_terminal

SECRET = "geheim-4711"
STDIN = "password-0815"
VERBS = [
    ["status"], ["list"], ["list", "--json"], ["list", "--jsonl"], ["show", "job_1"], ["show", "job_1", "--json"],
    ["show", "job_2"], ["logs", "job_2"], ["events", "--since", "0"], ["events", "--since", "0", "--json"],
    ["worker", "list"], ["worker", "list", "--json"], ["queue", "list"], ["queue", "list", "--json"],
    ["config", "list"], ["dlq", "list"], ["dlq", "show", "job_3"], ["dlq", "list", "--json"], ["daemon", "status"],
    ["daemon", "logs"], ["doctor"], ["edit", "job_1", "priority=3"], ["cancel", "job_1", "--json"],
    ["retry", "job_1", "--json"], ["wait", "job_1"], ["rm", "job_1", "--json"],
]  # fmt: skip


def client(home: Home) -> Client:
    """A client of this home that starts nothing."""
    return Client(autostart=False, environ=home.env)


@pytest.fixture
def full(home: Home) -> Home:
    """A home with a waiting, a completed and a dead job, each with secrets in both environments and its stdin."""
    home.ok("worker", "start", "-d")
    secrets = {"env": {"TOKEN": SECRET}, "stdin": STDIN}
    with client(home) as asking:
        environment = {"PASSWORD": SECRET, "PATH": "/bin:/usr/bin"}
        asking.enqueue("true", hold=True, environment=environment, **secrets)
        seen = home.path / "seen"
        asking.enqueue(f"echo $TOKEN $PASSWORD > {seen}; cat >> {seen}", environment=environment, **secrets)
        asking.enqueue("exit 3", max_retries=0, environment=environment, **secrets)
        asking.wait("job_2", "job_3", timeout=30)
    assert seen.read_text() == f"{SECRET} {SECRET}\n{STDIN}", "the job has them"
    return home


def leaks(text: str | bytes) -> list[str]:
    """The secrets that a text holds."""
    shown = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return [secret for secret in (SECRET, STDIN) if secret in shown]


def test_no_verb_shows_them(full: Home) -> None:
    for words in VERBS:
        done = full.cli(*words)
        assert done.returncode == 0, (words, done.stderr)
        assert leaks(done.stdout + done.stderr) == [], words
    assert leaks(on_terminal(full, "show", "job_2")) == []
    names = full.json("show", "job_2")
    assert names["env_names"] == ["TOKEN"], "its names may be shown"
    assert names["stdin_bytes"] == len(STDIN)


def test_an_editor_is_shown_names_alone_and_what_it_leaves_out_is_kept(full: Home) -> None:
    seen, editor, got = full.path / "edited", full.path / "editor", full.path / "got"
    editor.write_text(f'#!/bin/sh\ncat "$1" > {seen}\nsed -i \'s#"true"#"echo $TOKEN > {got}"#\' "$1"\n')
    editor.chmod(0o700)
    full.ok("edit", "job_1", env={"EDITOR": str(editor), "VISUAL": str(editor)})
    assert leaks(seen.read_text()) == []
    full.ok("release", "job_1")
    full.ok("wait", "job_1")
    assert got.read_text() == f"{SECRET}\n"


def test_no_answer_of_the_wire_holds_them(full: Home) -> None:
    asked: list[tuple[str, dict[str, Any]]] = [
        ("list", {}),
        ("job.get", {"id": "job_2"}),
        ("job.logs", {"id": "job_2"}),
        ("job.wait", {"ids": ["job_2"]}),
        ("dlq.list", {}),
        ("job.edit", {"id": "job_1", "changes": {"priority": 1}}),
        ("job.release", {"ids": ["job_1"]}),
        ("dlq.retry", {"ids": ["job_3"]}),
        ("worker.list", {}),
        ("events.subscribe", {"since": 0}),
    ]
    with connected(full.socket) as end:
        for number, (method, params) in enumerate(asked):
            end.sendall(rpc.request(number, method, params))
        for message in answers(end, len(asked) + 5):
            assert leaks(json.dumps(message, default=repr)) == []


BAD: list[Callable[[Client], Any]] = [
    lambda asking: asking.enqueue("true", env={"TOKEN": f"{SECRET}\0"}),
    lambda asking: asking.enqueue("true", env={"TOKEN": [SECRET]}),
    lambda asking: asking.enqueue("true", environment={"TOKEN": {SECRET: 1}}),
    lambda asking: asking.enqueue("true", environment=[f"TOKEN={SECRET}"]),
    lambda asking: asking.enqueue("true", environment=f"TOKEN={SECRET}"),
    lambda asking: asking.enqueue("true", env={f"TOKEN={SECRET}": ""}),
    lambda asking: asking.enqueue("true", stdin=f"{STDIN}\0"),
    lambda asking: asking.enqueue("true", stdin=[STDIN]),
    lambda asking: asking.enqueue("true", env={"TOKEN": SECRET}, timeot=1),
    lambda asking: asking.enqueue("true", env={"TOKEN": SECRET}, depends_on=["nobody"]),
    lambda asking: asking.enqueue("true", env={"TOKEN": SECRET}, id="job_2"),
    lambda asking: asking.enqueue_many([{"command": "true", "env": {"TOKEN": SECRET}}, {"command": ""}]),
    lambda asking: asking.edit("job_1", {"env": {"TOKEN": f"{SECRET}\0"}}),
    lambda asking: asking.edit("job_2", {"env": {"TOKEN": [SECRET]}}),
]


def test_no_error_and_no_log_tells_them(full: Home) -> None:
    with client(full) as asking:
        for bad in BAD:
            with pytest.raises(QueuectlError) as caught:
                bad(asking)
            assert leaks(f"{caught.value} {caught.value.data}") == []
    # The whole life of the daemon and a worker's death besides.
    worker = full.json("worker", "list")[0]
    with client(full) as asking:
        sleeping = asking.enqueue("sleep 1000", env={"TOKEN": SECRET}, once=True)
        eventually(lambda: asking.get(sleeping.id).state == "processing")
        eventually(lambda: asking.workers()[0]["state"] == "busy")
        os.kill(worker["pid"], signal.SIGKILL)
        asking.wait(sleeping.id, timeout=30)
    full.ok("daemon", "restart")
    assert "serving" in full.daemon_log()
    assert leaks(full.daemon_log()) == []


def test_they_are_in_no_command_line_and_in_no_log_folder(full: Home) -> None:
    for pid in processes_of(full.path):
        assert leaks(Path(f"/proc/{pid}/cmdline").read_bytes()) == []
    for file in full.logs.rglob("*"):
        if file.is_file():
            assert leaks(file.read_bytes()) == []
