"""Refused clients get an error, also before they send anything; a connection that cannot be served is closed."""

import asyncio
import errno
import selectors
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from queuectl_client import AsyncClient, Client, errors
from queuectl_client.protocol import rpc
from queuectld.server import listener, session
from tests.support.eventually import eventually_async
from tests.support.wire import CallFailed, FrontDoor, scene

FULL = rpc.error_response(None, rpc.ErrorCode.BUSY, "2 clients are connected already; try again later", plain=True)


@pytest.fixture
def full(tmp_path: Path) -> Iterator[socket.socket]:
    """A listening socket, for a daemon that turns clients away."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "q.sock"))
        listening.listen()
        yield listening


def turn_away(listening: socket.socket) -> None:
    with listening.accept()[0] as client:
        client.sendall(FULL)


def test_a_client_that_is_turned_away_before_it_has_sent_anything_hears_why(
    full: socket.socket, tmp_path: Path
) -> None:
    with Client(str(tmp_path / "q.sock"), autostart=False) as client:
        client.connect()
        turn_away(full)
        with pytest.raises(errors.Busy, match="2 clients are connected already") as caught:
            client.send("enqueue", {"command": "true"})
    assert caught.value.exit_code == 1


def test_so_does_one_of_asyncio(full: socket.socket, tmp_path: Path) -> None:
    async def play() -> None:
        async with AsyncClient(str(tmp_path / "q.sock"), autostart=False) as client:
            await client.connect()
            turn_away(full)
            with pytest.raises(errors.Busy, match="2 clients are connected already"):
                await client.call("enqueue", command="true")

    asyncio.run(play())


class NoRoom:
    """The system lets no more descriptors be watched, once `is_full` (fs.epoll.max_user_watches, epoll(7))."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_full = False
        register = selectors.EpollSelector.register

        def refuse(selector: selectors.EpollSelector, fileobj: Any, events: int, data: Any = None) -> Any:
            if self.is_full:
                raise OSError(errno.ENOSPC, "No space left on device")
            return register(selector, fileobj, events, data)

        monkeypatch.setattr(selectors.EpollSelector, "register", refuse)


def test_a_client_that_cannot_be_watched_is_closed_and_not_left_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    @scene
    async def play() -> None:
        async with FrontDoor(tmp_path) as door:
            room = NoRoom(monkeypatch)
            first = await door.connect()
            await first.call("status")
            with socket.socket(socket.AF_UNIX) as late:
                late.setblocking(False)
                late.connect(str(first_path(tmp_path)))
                room.is_full = True
                await eventually_async(lambda: "cannot register a connection" in caplog.text)
                room.is_full = False
                assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(late, 1), 20) == b""
            await first.call("status")
            await (await door.connect()).call("status")
            assert len(door.connections._since) == 2

    play()


def first_path(folder: Path) -> Path:
    (found,) = folder.rglob("*.sock")
    return found


def test_a_listener_that_cannot_be_watched_again_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "RETRY_S", 0.05)

    @scene
    async def play() -> None:
        async with FrontDoor(tmp_path) as door:
            room = NoRoom(monkeypatch)
            bound = door.listener._sockets[0].listening
            asyncio.get_running_loop().remove_reader(bound)
            room.is_full = True
            door.listener._accept_again(bound)
            room.is_full = False
            await (await door.connect()).call("status")

    play()


def test_a_call_that_is_too_large_to_wait_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MAX_WAIT_BYTES", 1000)

    @scene
    async def play() -> None:
        async with FrontDoor(tmp_path) as door:
            client = await door.connect()
            with pytest.raises(CallFailed, match="a waiting call may have at most 1,000 bytes, this one has"):
                await client.call("job.wait", ids=[f"job_{number}" for number in range(500)])

    play()
