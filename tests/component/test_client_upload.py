"""Many jobs, all of them or none: one set of scenarios for Client, AsyncClient and, where it has them, the command."""

import asyncio
import itertools
import os
import signal
import subprocess
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from queuectl_client import AsyncClient, Client, errors
from queuectl_client.calls import REPEATS, Call, CallOnce, Send, Steps
from queuectl_client.protocol import rpc
from queuectl_client.upload import PIECE_JOBS, PIECES_AHEAD
from tests.support.daemon import QUEUECTL
from tests.support.eventually import eventually, eventually_async
from tests.support.fakeserver import FakeServer, Refuse, Silent, Vanish

PIECES = 8
COUNT = PIECES * PIECE_JOBS - 3
JOBS = [str(number) for number in range(COUNT)]
IDS = [f"id-{number}" for number in JOBS]
BOTH = pytest.mark.parametrize("kind", ["sync", "async"])

Answer = Callable[[dict[str, Any]], Any]


def added(params: dict[str, Any]) -> dict[str, Any]:
    seqs = [int(job["command"]) + 1 for job in params["jobs"]]
    return {"ids": [f"id-{job['command']}" for job in params["jobs"]], "seqs": seqs}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FakeServer]:
    tokens = itertools.count(1)
    answers: dict[str, Any] = {
        "enqueue_many": added,
        "batch__open": lambda _: {"token": f"t{next(tokens)}"},
        "batch__add": added,
    }
    with FakeServer(tmp_path / "q.sock", **answers) as started:
        yield started


def play(server: FakeServer, kind: str, jobs: Iterable[Any], **defaults: Any) -> Any:
    """What `enqueue_many` makes of the jobs; the client is of use afterwards, and no other connection is left."""
    where: dict[str, Any] = {"autostart": False, "environ": {"QUEUECTL_HOME": str(server.path.parent)}}

    def left_alone() -> bool:
        return server.connected == 1

    if kind == "sync":
        with Client(str(server.path), **where) as client:
            client.status()
            try:
                return client.enqueue_many(jobs, **defaults)
            finally:
                eventually(left_alone)
                before = len(server.calls)
                client.status()
                assert [method for method, _ in server.calls[before:]] == ["status"], "over the connection it had"

    async def whole() -> Any:
        async with AsyncClient(str(server.path), **where) as client:
            await client.status()
            try:
                return await client.enqueue_many(jobs, **defaults)
            finally:
                await eventually_async(left_alone)
                before = len(server.calls)
                await client.status()
                assert [method for method, _ in server.calls[before:]] == ["status"], "over the connection it had"

    return asyncio.run(whole())


def methods(server: FakeServer) -> list[str]:
    return [method for method in server.methods() if method != "status"]


def nth(number: int, failing: Answer, otherwise: Answer = added) -> Answer:
    """The answer to the nth call, from 1, and to all others."""
    calls = itertools.count(1)
    return lambda params: (failing if next(calls) == number else otherwise)(params)


def raising(error: Exception) -> Answer:
    def answer(_: dict[str, Any]) -> Any:
        raise error

    return answer


@BOTH
def test_many_jobs_are_one_batch_with_its_own_connection(server: FakeServer, kind: str) -> None:
    assert play(server, kind, JOBS, timeout=timedelta(minutes=2)).ids == IDS
    assert methods(server) == ["batch.open", *["batch.add"] * PIECES, "batch.commit"]
    opened = dict(server.calls)["batch.open"]["defaults"]
    assert (opened["timeout"], opened["cwd"]) == (120.0, os.getcwd())


@BOTH
def test_pieces_go_ahead_of_their_answers_and_no_more_than_a_few(server: FakeServer, kind: str) -> None:
    drawn = 0
    drawn_at: list[int] = []

    def jobs() -> Iterator[str]:
        nonlocal drawn
        for job in JOBS:
            drawn += 1
            yield job

    held: list[dict[str, Any]] = []

    def hold(params: dict[str, Any]) -> Any:
        held.append(params)
        if len(held) < PIECES_AHEAD:
            raise Silent  # it would not come any further if it waited for this answer
        drawn_at.append(drawn)
        for place, each in enumerate(held[:-1]):
            # After hello, which is 1, and batch.open.
            server._connections[-1].sendall(rpc.response(3 + place, added(each)))
        server.answers["batch.add"] = added
        return added(params)

    server.answers["batch.add"] = hold
    assert play(server, kind, jobs()).ids == IDS
    assert drawn_at[0] <= (PIECES_AHEAD + 1) * PIECE_JOBS


@BOTH
def test_a_refusal_in_the_middle_names_the_job_and_discards_the_batch(server: FakeServer, kind: str) -> None:
    server.answers["batch.add"] = nth(3, raising(Refuse("conflict", "job 8: 'x' is taken", {"index": 7})))
    with pytest.raises(errors.Conflict) as caught:
        play(server, kind, JOBS)
    assert str(caught.value) == f"job {2 * PIECE_JOBS + 8}: 'x' is taken; nothing was stored"
    assert caught.value.data["index"] == 2 * PIECE_JOBS + 7
    assert "batch.commit" not in methods(server)


@BOTH
def test_a_job_that_cannot_be_sent_is_named(server: FakeServer, kind: str) -> None:
    jobs: list[Any] = [*JOBS[:300], {"command": "true", "env": object()}, *JOBS[300:]]
    with pytest.raises(errors.InvalidParams, match=r"^job 301: this cannot be sent"):
        play(server, kind, jobs)
    assert "batch.commit" not in methods(server)


@BOTH
def test_a_job_that_waits_for_one_that_did_not_come_is_named(server: FakeServer, kind: str) -> None:
    error = Refuse("not_found", "no such job: 'y'", {"id": "y", "seq": 501})
    server.answers["batch.commit"] = raising(error)
    jobs: list[Any] = [*JOBS]
    jobs[500] = {"command": "500", "depends_on": ["y"]}
    with pytest.raises(errors.NotFound, match=r"^job 501: no such job: 'y'; nothing was stored$"):
        play(server, kind, jobs)
    assert methods(server).count("batch.open") == 1


@BOTH
def test_an_error_of_the_jobs_source_discards_the_batch(server: FakeServer, kind: str) -> None:
    def jobs() -> Iterator[str]:
        yield from JOBS[:1000]
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        play(server, kind, jobs())
    assert "batch.commit" not in methods(server)


@BOTH
def test_an_interrupt_in_the_middle_discards_the_batch(server: FakeServer, kind: str) -> None:
    def interrupt(_: dict[str, Any]) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        raise Silent

    server.answers["batch.add"] = nth(3, interrupt)
    with pytest.raises(KeyboardInterrupt):
        play(server, kind, JOBS)
    assert "batch.commit" not in methods(server)


@BOTH
def test_a_daemon_that_goes_away_in_the_middle_gets_a_new_batch(server: FakeServer, kind: str) -> None:
    server.answers["batch.add"] = nth(3, raising(Vanish()))
    assert play(server, kind, JOBS).ids == IDS
    assert methods(server).count("batch.open") == 2
    assert methods(server)[-PIECES - 2 :] == ["batch.open", *["batch.add"] * PIECES, "batch.commit"]
    assert server.calls[-2][1]["token"] == "t2"


@BOTH
def test_jobs_that_can_be_had_once_are_not_sent_again(server: FakeServer, kind: str) -> None:
    server.answers["batch.add"] = nth(3, raising(Vanish()))
    with pytest.raises(errors.ConnectionLost, match="nothing was stored"):
        play(server, kind, iter(JOBS))
    assert methods(server).count("batch.open") == 1


@BOTH
def test_what_follows_over_a_lost_connection_opens_no_other(server: FakeServer, kind: str) -> None:
    def steps() -> Steps[None]:
        yield Call("batch.open", {})
        server.hang_up()
        with pytest.raises(errors.ConnectionLost):
            yield CallOnce("status", {})
        with pytest.raises(errors.ConnectionLost):
            yield Send("batch.add", {"jobs": []})

    where: dict[str, Any] = {"autostart": False, "environ": {"QUEUECTL_HOME": str(server.path.parent)}}
    if kind == "sync":
        with Client(str(server.path), **where) as client:
            client.run(steps())
    else:

        async def whole() -> None:
            async with AsyncClient(str(server.path), **where) as client:
                await client.run(steps())

        asyncio.run(whole())
    eventually(lambda: server.connected == 0)
    assert "batch.add" not in server.methods()
    assert [method for method, _ in server.calls].count("hello") == 1


@BOTH
def test_a_daemon_that_always_goes_away_is_not_tried_for_ever(server: FakeServer, kind: str) -> None:
    server.answers["batch.add"] = raising(Vanish())
    with pytest.raises(errors.ConnectionLost, match="nothing was stored"):
        play(server, kind, JOBS)
    assert methods(server).count("batch.open") == 1 + REPEATS


@BOTH
def test_a_batch_whose_opening_was_lost_is_opened_again(server: FakeServer, kind: str) -> None:
    server.answers["batch.open"] = nth(1, raising(Vanish()), lambda _: {"token": "t"})
    assert play(server, kind, iter(JOBS)).ids == IDS
    assert methods(server).count("batch.open") == 2


@BOTH
def test_a_commit_whose_answer_was_lost_is_asked_for_by_its_request(server: FakeServer, kind: str) -> None:
    server.answers["batch.commit"] = nth(1, raising(Vanish()), lambda _: {})
    assert play(server, kind, iter(JOBS)).ids == IDS
    commits = [params for method, params in server.calls if method == "batch.commit"]
    assert len(commits) == 2
    assert commits[0] == commits[1]


@BOTH
@pytest.mark.parametrize("again", [True, False], ids=["again", "once"])
def test_a_commit_that_never_took_effect_is_known_not_to_have(server: FakeServer, kind: str, again: bool) -> None:
    def forgotten(params: dict[str, Any]) -> Any:
        raise Refuse("not_found", "no such open batch: 't1'", {"token": params["token"]})

    steps = iter([raising(Vanish()), forgotten])
    server.answers["batch.commit"] = lambda params: next(steps, lambda _: {})(params)
    if again:
        assert play(server, kind, JOBS).ids == IDS
        assert methods(server).count("batch.open") == 2
    else:
        with pytest.raises(errors.ConnectionLost, match="nothing was stored"):
            play(server, kind, iter(JOBS))


@BOTH
def test_a_few_jobs_are_one_call(server: FakeServer, kind: str) -> None:
    assert play(server, kind, JOBS[:3]).ids == IDS[:3]
    assert play(server, kind, []).ids == []
    assert methods(server) == ["enqueue_many"]
    server.answers["enqueue_many"] = raising(Refuse("conflict", "job 2: 'x' is taken", {"index": 1}))
    with pytest.raises(errors.Conflict, match=r"^job 2: 'x' is taken; nothing was stored$"):
        play(server, kind, JOBS[:3])


def command(server: FakeServer, *words: str, stdin: str | None = None) -> "subprocess.CompletedProcess[str]":
    environ = os.environ | {"QUEUECTL_HOME": str(server.path.parent)}
    return subprocess.run(
        [QUEUECTL, "--socket", str(server.path), "--no-autostart", "enqueue", "-q", *words],
        env=environ, input=stdin, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    file = tmp_path / "jobs"
    file.write_text("".join(f"{job}\n" for job in JOBS))
    return file


def test_a_file_is_read_again_for_the_next_daemon(server: FakeServer, lines: Path) -> None:
    server.answers["batch.add"] = nth(3, raising(Vanish()))
    done = command(server, "-f", str(lines))
    assert (done.returncode, done.stderr, done.stdout.split()) == (0, "", IDS)


def test_a_pipe_is_not(server: FakeServer, lines: Path) -> None:
    server.answers["batch.add"] = nth(3, raising(Vanish()))
    done = command(server, "-f", "-", stdin=lines.read_text())
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "Error: the daemon went away before it had all of the jobs; nothing was stored\n"


def test_the_command_names_the_line_that_was_refused(server: FakeServer, lines: Path) -> None:
    server.answers["batch.add"] = nth(3, raising(Refuse("conflict", "job 8: 'x' is taken", {"index": 7})))
    done = command(server, "-f", str(lines))
    assert (done.returncode, done.stdout) == (5, "")
    assert done.stderr == f"Error: line {2 * PIECE_JOBS + 8}: 'x' is taken; nothing was stored\n"
    assert "batch.commit" not in server.methods()
