"""What the SDK's verbs send and give back: jobs and what they take along, many jobs, output, waiting."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from queuectl_client import Client, Job, errors
from queuectl_client.protocol.messages import REQUESTS
from queuectl_client.session import JOBS_A_CALL
from queuectl_client.upload import PIECE_JOBS
from tests.support.fakeserver import FakeServer, Refuse

JOB = {"id": "job_1", "seq": 1, "command": "true", "state": "pending", "attempts": 0, "exit_code": None}
ENDED = JOB | {"state": "completed", "exit_code": 0}


def added(params: dict[str, Any]) -> dict[str, Any]:
    return {"ids": [f"id-{job['command']}" for job in params["jobs"]], "seqs": list(range(len(params["jobs"])))}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FakeServer]:
    answers: dict[str, Any] = {
        "enqueue": lambda _: JOB,
        "enqueue_many": added,
        "batch__open": lambda _: {"token": "t"},
        "batch__add": added,
        "job__wait": lambda params: {"done": not 0 < (params.get("timeout") or 0) <= 1, "jobs": [ENDED]},
        "job__get": lambda _: ENDED,
    }
    with FakeServer(tmp_path / "q.sock", **answers) as started:
        yield started


@pytest.fixture
def client(server: FakeServer) -> Iterator[Client]:
    with Client(str(server.path), autostart=False, environ={"QUEUECTL_HOME": str(server.path.parent)}) as made:
        yield made


def sent(server: FakeServer, method: str) -> dict[str, Any]:
    """The params of the last such call, which the daemon would accept."""
    params = next(params for name, params in reversed(server.calls) if name == method)
    REQUESTS[method].from_map(params)
    return params


def test_the_first_example_of_the_readme(server: FakeServer, client: Client) -> None:
    assert client.enqueue("echo hi").wait().exit_code == 0


def test_a_job_takes_along_where_it_was_submitted(
    server: FakeServer, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MARK", "ä\udcff")
    previous = os.umask(0o027)
    try:
        client.enqueue("true")
    finally:
        os.umask(previous)
    params = sent(server, "enqueue")
    assert (params["cwd"], params["umask"]) == (str(tmp_path), 0o027)
    assert params["environment"]["MARK"] == "ä\udcff".encode("utf-8", "surrogateescape")


def test_a_job_is_a_shell_line_an_argv_or_a_map(server: FakeServer, client: Client) -> None:
    for job, command in (("ls -l", "ls -l"), (["ls", "-l"], ["ls", "-l"]), ({"command": "ls", "queue": "q"}, "ls")):
        client.enqueue(job, priority=5)
        assert sent(server, "enqueue")["command"] == command
        assert sent(server, "enqueue")["priority"] == 5


def test_pythons_own_types_are_put_into_the_wires(server: FakeServer, client: Client, tmp_path: Path) -> None:
    moment = datetime(2026, 11, 24, 3, 8, 2, tzinfo=UTC)
    client.enqueue("true", timeout=timedelta(minutes=2), run_at=moment, cwd=tmp_path)
    params = sent(server, "enqueue")
    assert (params["timeout"], params["cwd"]) == (120.0, str(tmp_path))
    assert datetime.fromisoformat(params["run_at"]) == moment


def test_a_removed_folder_is_an_error_unless_another_is_named(
    server: FakeServer, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(errors.InvalidParams, match="cwd"):
        client.enqueue("true")
    client.enqueue("true", cwd="/")
    assert sent(server, "enqueue")["cwd"] == "/"


def test_a_few_jobs_are_one_call(server: FakeServer, client: Client) -> None:
    assert client.enqueue_many(["a", "b"], priority=3).ids == ["id-a", "id-b"]
    assert sent(server, "enqueue_many")["defaults"]["priority"] == 3
    assert server.methods() == ["enqueue_many"]
    assert client.enqueue_many([]).ids == []


def test_many_jobs_are_one_batch(server: FakeServer, client: Client) -> None:
    count = PIECE_JOBS * 7 + 3
    stored = client.enqueue_many(str(number) for number in range(count))
    assert stored.ids == [f"id-{number}" for number in range(count)]
    assert server.methods() == ["batch.open", *["batch.add"] * 8, "batch.commit"]
    assert sent(server, "batch.commit")["token"] == "t"


def test_large_jobs_are_cut_into_messages_that_fit(server: FakeServer, client: Client) -> None:
    assert len(client.enqueue_many([f"{number} {'x' * 1_000_000}" for number in range(12)]).ids) == 12
    assert server.methods().count("batch.add") > 1


def test_a_batch_with_a_bad_job_is_never_committed(server: FakeServer, client: Client) -> None:
    def refuse(_: dict[str, Any]) -> None:
        raise Refuse("conflict", "job 3: taken")

    server.answers["batch.add"] = refuse
    with pytest.raises(errors.Conflict):
        client.enqueue_many(str(number) for number in range(PIECE_JOBS + 1))
    assert "batch.commit" not in server.methods()
    # The daemon forgets an open batch with its connection, so that one is not used again.
    client.status()
    assert [method for method, _ in server.calls].count("hello") == 2


def test_all_pages_of_a_list_are_read(server: FakeServer, client: Client) -> None:
    pages = {None: {"jobs": [JOB], "next": "a"}, "a": {"jobs": [], "next": "b"}, "b": {"jobs": [JOB], "next": None}}
    server.answers["list"] = lambda params: pages[params.get("after")]
    assert [job.id for job in client.jobs(state="pending")] == ["job_1", "job_1"]


def test_output_is_read_to_its_end(server: FakeServer, client: Client) -> None:
    whole = b"\x00\xffabc"

    def page(params: dict[str, Any]) -> dict[str, Any]:
        data = whole[params["offset"] :][:2]
        return {"data": data, "next": params["offset"] + len(data), "eof": not data, "dropped": 0}

    server.answers["job.logs"] = page
    assert client.output("job_1") == whole
    assert b"".join(client.follow("job_1", stream="stdout")) == whole
    assert sent(server, "job.logs")["wait"] is True


def test_a_wait_that_ends_too_early_is_a_timeout(server: FakeServer, client: Client) -> None:
    with pytest.raises(TimeoutError):
        client.wait("job_1", timeout=1)


def test_a_job_shows_its_keys_and_what_can_be_done(server: FakeServer, client: Client) -> None:
    job = Job(client, JOB)
    assert (job.id, job.state, job.has_ended, repr(job)) == ("job_1", "pending", False, "<Job job_1 pending>")
    assert job.refresh().exit_code == 0
    with pytest.raises(AttributeError, match="no 'colour'"):
        _ = job.colour
    server.answers |= {f"job.{verb}": lambda _: {"jobs": [JOB]} for verb in ("cancel", "kill", "retry")}
    assert job.cancel() == job.kill(9) == job.retry() == job
    assert sent(server, "job.kill") == {"ids": ["job_1"], "signal": 9, "dry_run": False, "limit": JOBS_A_CALL}


def test_what_a_selector_stands_for_is_done_call_by_call(server: FakeServer, client: Client) -> None:
    answers = [{"jobs": [JOB], "next": "here"}, {"jobs": [JOB, JOB], "next": None}]
    server.answers |= {"job.hold": lambda _: answers.pop(0)}
    assert len(client.hold("all")) == 3
    assert sent(server, "job.hold")["after"] == "here"


def test_every_verb_is_known_to_the_daemon(server: FakeServer, client: Client) -> None:
    listed = {"jobs": [JOB], "queues": [], "workers": [], "config": [], "value": 3, "next": None, "removed": 4}
    server.answers |= {method: lambda _: listed for method in REQUESTS if method not in server.answers}
    client.cancel("a"), client.kill("a"), client.pause("a"), client.resume("a"), client.hold("a"), client.release("a")
    client.retry("a"), client.remove("a"), client.edit("a", {"priority": 3}), client.move("a", first=True)
    client.explain("a"), client.prune(older_than=3), client.send_input("a", b"x")
    (
        client.dlq_list(reason="exit 3"),
        client.dlq_retry(queue="q", changes={"timeout": 3}),
        client.dlq_purge("a", older_than=3),
    )
    client.config_get("max_retries"), client.config_set("max_retries", 3), client.config_unset("max_retries")
    client.config_list(), client.queues(), client.queue_set("q", concurrency=3), client.queue_pause("q")
    client.queue_resume("q"), client.queue_remove("q")
    client.workers(), client.worker_start(2), client.worker_stop(), client.worker_scale(2)
    client.daemon_info(), client.daemon_drain(), client.daemon_shutdown(now=True), client.status(), client.get(1)
    (
        client.wait(),
        client.log_page(1),
        list(client.jobs()),
        client.enqueue("a"),
        client.enqueue_many(["a"]),
        client.events(),
    )
    for method in server.methods():
        sent(server, method)
    batches = {"batch.open", "batch.add", "batch.commit"}
    assert set(server.methods()) == set(REQUESTS) - batches - {"hello", "ping"}


def test_the_package_loads_nothing_before_it_is_used() -> None:
    program = "import sys, json, queuectl_client; print(json.dumps([m for m in sys.modules if 'queuectl' in m]))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == ["queuectl_client"]
    with pytest.raises(AttributeError):
        __import__("queuectl_client").Nonsense  # noqa: B018
