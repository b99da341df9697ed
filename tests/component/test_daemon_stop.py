"""A stop of the daemon and who cancels it, over workers that end when a test says so."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from queuectl_client.protocol.vocabulary import ErrorCode
from queuectld.domain.errors import Refused
from queuectld.scheduler.daemon import DaemonService
from queuectld.scheduler.inbox import Inbox


class Workers:
    """Workers that end when `ended` is set."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.ended = asyncio.Event()

    async def end_all(self, *, now: bool) -> Sequence[str]:
        self.told.append("now" if now else "end")
        await self.ended.wait()
        return ["one"]

    async def undo_end_all(self) -> None:
        self.told.append("stay")


class Daemon:
    """The service, and whether it is exiting."""

    def __init__(self) -> None:
        self.workers = Workers()
        self.dispatcher: Any = SimpleNamespace(draining=False)
        self.exits: list[bool] = []
        self.service = DaemonService(dict, self.dispatcher, Inbox(), self.workers, lambda: self.exits.append(True))

    @property
    def is_stopping(self) -> bool:
        return bool(self.service.info()["stopping"])


def in_a_loop(scenario: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    def test() -> None:
        asyncio.run(asyncio.wait_for(scenario(), 30))  # type: ignore[arg-type]

    test.__name__ = scenario.__name__
    return test


async def begun(daemon: Daemon, *, now: bool = False) -> "asyncio.Task[Any]":
    """A client that waits for the stop."""
    client = asyncio.ensure_future(daemon.service.shutdown(now))
    told = len(daemon.workers.told)
    while len(daemon.workers.told) == told:
        await asyncio.sleep(0)
    return client


@in_a_loop
async def test_it_goes_on_without_its_client_and_a_second_one_hears_of_its_end() -> None:
    daemon = Daemon()
    client = await begun(daemon)
    client.cancel()
    with pytest.raises(asyncio.CancelledError):
        await client
    assert daemon.is_stopping
    second = await begun(daemon, now=True)
    daemon.workers.ended.set()
    assert await second == {"left": ["one"]}
    assert daemon.workers.told == ["end", "now"]
    assert daemon.exits
    assert daemon.is_stopping


@in_a_loop
async def test_the_daemon_exits_though_nobody_waits_for_that() -> None:
    daemon = Daemon()
    client = await begun(daemon)
    client.cancel()
    await asyncio.gather(client, return_exceptions=True)
    daemon.workers.ended.set()
    while not daemon.exits:
        await asyncio.sleep(0)


@in_a_loop
async def test_resuming_cancels_it_and_tells_its_client() -> None:
    daemon = Daemon()
    client = await begun(daemon)
    assert daemon.dispatcher.draining
    assert await daemon.service.drain(resume=True) == {"draining": False}
    with pytest.raises(Refused) as refused:
        await client
    assert refused.value.code is ErrorCode.WRONG_STATE
    assert daemon.workers.told == ["end", "stay"]
    assert not daemon.exits
    assert not daemon.dispatcher.draining
    assert not daemon.is_stopping


@in_a_loop
async def test_once_all_workers_have_ended_it_is_too_late_to_cancel_it() -> None:
    daemon = Daemon()
    client = await begun(daemon)
    daemon.workers.ended.set()
    await client
    with pytest.raises(Refused) as refused:
        await daemon.service.drain(resume=True)
    assert refused.value.code is ErrorCode.WRONG_STATE
    assert daemon.dispatcher.draining
    assert daemon.workers.told == ["end"]
