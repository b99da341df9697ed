"""A client that waits as long as a job runs still notices a daemon that is stopped or hangs."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from queuectl_client import AsyncClient, Client, errors
from queuectl_client.protocol import rpc
from tests.support.fakeserver import FakeServer, Refuse, Silent

JOB = {"id": "job_1", "seq": 1, "command": "true", "state": "completed", "attempts": 0, "exit_code": 0}
WAIT = 2
"""The number of the call after hello."""


def silent(_: dict[str, Any]) -> Any:
    raise Silent


def unknown(_: dict[str, Any]) -> Any:
    raise Refuse("unknown_method", "unknown method 'ping'")


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("queuectl_client.session.SIGN_OF_LIFE_S", 0.02)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FakeServer]:
    with FakeServer(tmp_path / "q.sock", job__wait=silent, ping=silent) as started:
        yield started


def ask(server: FakeServer, kind: str, work: Callable[[Any], Any], timeout: float | None = 0.1) -> Any:
    """What `work` makes of a client of either kind."""
    where: dict[str, Any] = {"autostart": False, "timeout": timeout, "environ": {}}
    if kind == "sync":
        with Client(str(server.path), **where) as client:
            return work(client)

    async def play() -> Any:
        async with AsyncClient(str(server.path), **where) as client:
            return await work(client)

    return asyncio.run(play())


BOTH = pytest.mark.parametrize("kind", ["sync", "async"])


@BOTH
def test_a_wait_without_end_notices_a_silent_daemon(server: FakeServer, kind: str) -> None:
    with pytest.raises(errors.DaemonUnreachable, match="gave no answer within") as caught:
        ask(server, kind, lambda client: client.wait("job_1"))
    assert caught.value.exit_code == 3
    assert server.methods() == ["job.wait", "ping"]


@BOTH
@pytest.mark.parametrize("alive", [lambda _: {}, unknown], ids=["answers", "is too old for it"])
def test_a_wait_goes_on_as_long_as_the_daemon_lives(server: FakeServer, kind: str, alive: Callable[..., Any]) -> None:
    pings = 0

    def sign_of_life(params: dict[str, Any]) -> Any:
        nonlocal pings
        pings += 1
        if pings == 3:
            server._connections[0].sendall(rpc.response(WAIT, {"jobs": [JOB], "done": True}))
        return alive(params)

    server.answers["ping"] = sign_of_life
    (job,) = ask(server, kind, lambda client: client.wait("job_1"), timeout=20)
    assert job.has_ended
    assert server.methods() == ["job.wait", "ping", "ping", "ping"]


@BOTH
def test_a_reader_of_events_notices_a_silent_daemon(server: FakeServer, kind: str) -> None:
    def first(client: Any) -> Any:
        events = client.events()
        return next(events) if kind == "sync" else anext(events)

    with pytest.raises(errors.DaemonUnreachable, match="gave no answer within"):
        ask(server, kind, first)
    assert server.methods() == ["events.subscribe", "ping"]


@BOTH
def test_who_has_no_time_limit_asks_for_no_sign_of_life(server: FakeServer, kind: str) -> None:
    server.answers["job.wait"] = lambda _: {"jobs": [JOB], "done": True}
    (job,) = ask(server, kind, lambda client: client.wait("job_1"), timeout=None)
    assert job.has_ended
    assert server.methods() == ["job.wait"]


@pytest.mark.parametrize(
    "version, side", [("0.0.9", "daemon, then: queuectl daemon restart"), ("99.0", "client")], ids=["older", "newer"]
)
@pytest.mark.parametrize("code", ["unknown_method", "invalid_params"])
def test_a_daemon_of_another_version_that_does_not_understand_names_the_side_to_upgrade(
    server: FakeServer, version: str, side: str, code: str
) -> None:
    server.answers |= {"hello": lambda _: {"protocol": 1, "server": f"queuectld {version}"}, "status": unknown}
    server.answers["status"] = lambda _: (_ for _ in ()).throw(Refuse(code, "no such thing"))
    with pytest.raises(errors.BY_CODE[code]) as caught:
        ask(server, "sync", lambda client: client.status())
    assert f"the daemon is version {version}" in str(caught.value)
    assert f"upgrade the {side})" in str(caught.value)


def test_of_the_same_version_an_error_stays_as_it_is(server: FakeServer) -> None:
    server.answers["status"] = lambda _: (_ for _ in ()).throw(Refuse("invalid_params", "no such thing"))
    with pytest.raises(errors.InvalidParams, match=r"^no such thing$"):
        ask(server, "sync", lambda client: client.status())


def test_many_tasks_that_wait_ask_for_one_sign_of_life(server: FakeServer) -> None:
    async def all_wait(client: AsyncClient) -> list[Any]:
        return await asyncio.gather(*(client.wait(str(seq)) for seq in range(1, 21)), return_exceptions=True)

    failures = ask(server, "async", all_wait)
    assert {type(failure) for failure in failures} == {errors.DaemonUnreachable}
    assert server.methods() == ["job.wait"] * 20 + ["ping"]


@BOTH
def test_a_daemon_that_forgot_a_wait_is_asked_anew(server: FakeServer, kind: str) -> None:
    pages = iter([{"jobs": [JOB], "done": True, "next": "a"}, None, {"jobs": [JOB, {**JOB, "seq": 2}], "done": True}])

    def page(_: dict[str, Any]) -> Any:
        answer = next(pages)
        if answer is None:
            raise Refuse("gone", "no such wait")
        return answer

    server.answers["job.wait"] = page
    jobs = ask(server, kind, lambda client: client.wait("1-2"))
    assert [job.seq for job in jobs] == [1, 2]
