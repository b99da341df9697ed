"""AsyncClient against a small server: the same verbs as Client, many tasks on one connection."""

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from queuectl_client import AsyncClient, AsyncJob, Client, Job, errors
from queuectl_client.calls import REPEATS
from queuectl_client.protocol import rpc
from tests.support.eventually import eventually_async
from tests.support.fakeserver import FakeServer, Silent, Vanish

JOB = {"id": "job_1", "seq": 1, "command": "true", "state": "pending", "attempts": 0, "exit_code": None}

Scenario = Callable[[AsyncClient], Coroutine[Any, Any, None]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "q.sock"


def play(path: Path, server: FakeServer, scenario: Scenario, **options: Any) -> None:
    async def whole() -> None:
        environ = {"QUEUECTL_HOME": str(path.parent)}
        async with AsyncClient(str(path), autostart=False, environ=environ, **options) as client:
            await scenario(client)

    with server:
        asyncio.run(whole())


def verbs(kind: type) -> dict[str, list[str]]:
    """The public methods and the names and defaults of their parameters."""
    return {
        name: [str(parameter.replace(annotation=inspect.Parameter.empty)) for parameter in signature(method)]
        for name, method in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_")
    }


def signature(method: Callable[..., Any]) -> list[inspect.Parameter]:
    return list(inspect.signature(method).parameters.values())


def test_both_clients_have_the_same_verbs() -> None:
    # A task awaits and is cancelled instead; and it reads notifications as they come.
    only_sync = {"send", "result", "cancel_call", "drop_notifications"}
    synchronous = {name: parameters for name, parameters in verbs(Client).items() if name not in only_sync}
    assert synchronous == verbs(AsyncClient)
    assert verbs(Job) == verbs(AsyncJob)


def test_many_tasks_call_over_one_connection(path: Path) -> None:
    server = FakeServer(path, job__get=lambda params: {**JOB, "seq": params["id"]})

    async def scenario(client: AsyncClient) -> None:
        jobs = await asyncio.gather(*(client.get(seq) for seq in range(1, 101)))
        assert [job.seq for job in jobs] == list(range(1, 101))
        assert client.server["protocol"] == rpc.PROTOCOL_VERSION

    play(path, server, scenario)
    assert [method for method, _ in server.calls].count("hello") == 1


def test_a_job_is_enqueued_awaited_and_read(path: Path) -> None:
    server = FakeServer(
        path,
        enqueue=lambda _: JOB,
        job__wait=lambda _: {"done": True, "jobs": [{**JOB, "state": "completed", "exit_code": 0}]},
        job__logs=lambda params: {"data": b"hi"[params["offset"] :], "next": 2, "eof": params["offset"] == 2},
    )

    async def scenario(client: AsyncClient) -> None:
        job = await (await client.enqueue("true")).wait()
        assert (job.exit_code, job.has_ended) == (0, True)
        assert await job.output() == b"hi"
        assert [piece async for piece in job.follow()] == [b"hi"]

    play(path, server, scenario)


def test_pages_are_followed(path: Path) -> None:
    pages = {None: {"jobs": [JOB], "next": "a"}, "a": {"jobs": [], "next": "b"}, "b": {"jobs": [JOB], "next": None}}
    server = FakeServer(path, list=lambda params: pages[params.get("after")])

    async def scenario(client: AsyncClient) -> None:
        assert len([job async for job in client.jobs(state="dead")]) == 2

    play(path, server, scenario)


def test_events_come_until_the_daemon_goes(path: Path) -> None:
    server = FakeServer(path)

    async def scenario(client: AsyncClient) -> None:
        events = client.events(since=1)
        first = asyncio.ensure_future(anext(events))
        await eventually_async(lambda: "events.subscribe" in server.methods())
        server.tell("event", {"event_seq": 2})
        assert await first == {"event_seq": 2}
        server.hang_up()
        with pytest.raises(errors.ConnectionLost):
            await anext(events)

    play(path, server, scenario)


def test_a_cancelled_task_ends_its_waiting_call(path: Path) -> None:
    def silent(_: dict[str, Any]) -> None:
        raise Silent

    server = FakeServer(path, job__wait=silent)

    async def scenario(client: AsyncClient) -> None:
        waiting = asyncio.ensure_future(client.wait("a"))
        await eventually_async(lambda: "job.wait" in server.methods())
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await eventually_async(lambda: [told.method for told in server.told] == ["cancel"])
        assert await client.status() == {}

    play(path, server, scenario)


def test_a_read_cut_short_is_made_again_and_a_change_is_not(path: Path) -> None:
    cut = iter([True])

    def vanish_once(_: dict[str, Any]) -> Any:
        if next(cut, False):
            raise Vanish
        return {"workers": 3}

    def vanish(_: dict[str, Any]) -> Any:
        raise Vanish

    server = FakeServer(path, status=vanish_once, job__cancel=vanish)

    async def scenario(client: AsyncClient) -> None:
        assert await client.status() == {"workers": 3}
        with pytest.raises(errors.ConnectionLost):
            await client.cancel("a")

    play(path, server, scenario)
    assert server.methods() == ["status", "status", "job.cancel"]


def test_a_wait_goes_on_however_often_the_daemon_is_restarted(path: Path) -> None:
    waits: list[float] = []

    def restart(params: dict[str, Any]) -> dict[str, Any]:
        waits.append(params["timeout"])
        if len(waits) <= 3 * REPEATS:
            raise Vanish
        return {"done": True, "jobs": [{**JOB, "state": "completed"}]}

    server = FakeServer(path, job__wait=restart)

    async def scenario(client: AsyncClient) -> None:
        assert (await client.wait("job_1", timeout=500))[0].has_ended
        assert waits[0] <= 500
        assert waits == sorted(set(waits), reverse=True), "each time it is the rest"

    play(path, server, scenario)


def test_a_silent_daemon_is_unreachable(path: Path) -> None:
    def silent(_: dict[str, Any]) -> None:
        raise Silent

    server = FakeServer(path, status=silent)

    async def scenario(client: AsyncClient) -> None:
        with pytest.raises(errors.DaemonUnreachable, match="no answer within"):
            await client.status()

    play(path, server, scenario, timeout=0.05)


def test_everybody_who_waits_is_told_when_the_daemon_goes(path: Path) -> None:
    def vanish(_: dict[str, Any]) -> None:
        raise Vanish

    server = FakeServer(path, job__kill=vanish, job__pause=lambda _: (_ for _ in ()).throw(Silent()))

    async def scenario(client: AsyncClient) -> None:
        outcomes = await asyncio.gather(client.pause("a"), client.pause("b"), client.kill("c"), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [errors.ConnectionLost] * 3
        assert await client.status() == {}

    play(path, server, scenario)
