"""Clients that misbehave: rubbish, half messages, floods, stopped readers, too many. Others are served as before."""

import asyncio
import errno
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgpack
import pytest

from queuectl_client.protocol import rpc
from queuectl_client.protocol.submissions import Defaults
from queuectld.server import connection, connections, listener, peercred, session
from queuectld.server.exclusive_calls import CHECKED_AT_ONCE
from queuectld.store.records import Page
from tests.support.eventually import eventually_async
from tests.support.wire import FrontDoor, a_job, scene


@asynccontextmanager
async def other_client(door: FrontDoor) -> AsyncIterator[None]:
    """A client that was there before and is served after."""
    client = await door.connect()
    await client.call("status")
    yield
    assert (await client.call("status"))["workers"] == 3


def is_held(door: FrontDoor) -> bool:
    """Whether a connection reads no more for now."""
    return any(connection._is_paused for connection in door.connections._since)


def deep(levels: int) -> bytes:
    return b"\x94\x00\x01\xa6status" + b"\x91" * levels + b"\xc0"


RUBBISH = {
    "not MessagePack": b"\xc1",
    "HTTP": b"GET / HTTP/1.1\r\n\r\n",
    "no array": msgpack.packb({"a": 1}),
    "empty array": b"\x90",
    "unknown kind": b"\x94\x07\x01\xa1a\x90",
    "method no string": b"\x94\x00\x01\x05\x90",
    "negative msgid": b"\x94\x00\xff\xa6status\x90",
    "1,000 levels": deep(1000),
    "1 MB of empty maps": b"\x94\x00\x01\xa6status\xdd\x00\x0f\x42\x40" + b"\x80" * 1_000_000,
    "a huge string": b"\x94\x00\x01\xdb\xff\xff\xff\xff",
    "a huge array": b"\xdd\xff\xff\xff\xff",
    "a huge map": b"\xdf\xff\xff\xff\xff",
    "a message of 9 MB": b"\x94\x00\x01\xa6status\x91\xc6\x00\x90\x00\x00" + b"x" * 9_437_184,
}


@pytest.mark.parametrize("kind", RUBBISH)
def test_rubbish_gets_an_error_and_ends_its_connection_alone(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What only announces a huge length is no more than half a message, and waits for nothing but that deadline.
    monkeypatch.setattr(connection, "HALF_MESSAGE_S", 0.3)

    @scene
    async def play() -> None:
        async with FrontDoor(tmp_path) as door, other_client(door):
            client = await door.connect()
            client.send(RUBBISH[kind])
            answer = await client.read()
            if answer is not None:
                assert isinstance(answer, rpc.Response)
                assert answer.error.split(":")[0] in ("invalid_params", "too_large")
                assert await client.is_closed()

    play()


@pytest.mark.parametrize("key", [b"\x01", b"\x80", b"\xd4\x05\x00"], ids=["a number", "a map", "an extension"])
def test_keys_that_are_no_names_are_refused_in_a_call_and_ignored_in_a_notification(tmp_path: Path, key: bytes) -> None:
    odd = b"\x91\x81" + key + b"\x02"

    @scene
    async def play() -> None:
        async with FrontDoor(tmp_path) as door:
            client = await door.connect()
            client.send(b"\x93\x02\xa1x" + odd + b"\x94\x00\x03\xa6status" + odd + rpc.request(4, "status"))
            refused, answered = await client.read(), await client.read()
            assert isinstance(refused, rpc.Response)
            assert (refused.msgid, refused.error.split(":")[0]) == (3, "invalid_params")
            assert isinstance(answered, rpc.Response)
            assert (answered.msgid, answered.error) == (4, None)

    play()


@scene
async def test_random_bytes_never_end_the_daemon(tmp_path: Path) -> None:
    dice = random.Random(7)
    async with FrontDoor(tmp_path) as door, other_client(door):
        for _ in range(200):
            client = await door.connect()
            client.send(dice.randbytes(dice.randrange(1, 300)))
            client.close()


@scene
async def test_calls_before_the_rubbish_are_answered(tmp_path: Path) -> None:
    async with FrontDoor(tmp_path) as door:
        client = await door.connect()
        client.send(rpc.request(1, "enqueue", {"command": "true"}), b"\xc1")
        answers = [await client.answer() for _ in range(2)]
        assert {answer.msgid for answer in answers} == {1, None}
        assert await client.is_closed()


@scene
async def test_a_message_may_come_byte_by_byte(tmp_path: Path) -> None:
    async with FrontDoor(tmp_path) as door:
        client = await door.connect()
        for byte in rpc.request(1, "status"):
            client.send(bytes([byte]))
            await client.writer.drain()
            await asyncio.sleep(0)
        assert (await client.answer()).msgid == 1


@scene
async def test_half_a_message_has_a_deadline_and_whole_ones_have_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HALF_MESSAGE_S", 0.1)
    async with FrontDoor(tmp_path) as door, other_client(door):
        client = await door.connect()
        client.send(rpc.request(1, "status"), rpc.request(2, "status")[:-3])
        assert (await client.answer()).msgid == 1
        assert (await client.answer()).error.startswith("invalid_params: incomplete message")
        assert await client.is_closed()


@scene
async def test_half_messages_are_bounded_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HALF_MESSAGES_BYTES", 1_000_000)
    half = b"\x94\x00\x01\xa6status\x91\xc6\x00\x70\x00\x00" + b"x" * 600_000
    async with FrontDoor(tmp_path) as door, other_client(door):
        first, second, small = await door.connect(), await door.connect(), await door.connect()
        first.send(half)
        await eventually_async(lambda: door.connections._half_bytes >= 600_000)
        monkeypatch.setattr(connections, "HALF_MESSAGES_BYTES", 500_000)
        whole = rpc.request(7, "status")
        small.send(whole[:5])
        await eventually_async(lambda: door.connections._half_bytes == len(half) + 5)
        small.send(whole[5:])
        assert (await small.answer()).msgid == 7, "a small one is borne all the same"
        second.send(half)
        assert (await second.answer()).error.startswith("busy: ")
        assert await second.is_closed()
        await eventually_async(lambda: door.connections._half_bytes == len(half))
        first.writer.transport.abort()
        await eventually_async(lambda: door.connections._half_bytes == 0)


@scene
async def test_a_flood_of_calls_is_taken_a_few_at_a_time(tmp_path: Path) -> None:
    async with FrontDoor(tmp_path) as door, other_client(door):
        gate = door.recorder.hold("jobs.enqueue")
        client = await door.connect()
        asked = [client.ask("enqueue", command="true") for _ in range(5_000)]
        await eventually_async(lambda: is_held(door), message="the rest of the flood has to stay in the socket")
        assert door.recorder.names().count("jobs.enqueue") == session.MAX_OWED
        gate.set()
        assert [(await client.answer()).msgid for _ in asked] == asked


@scene
async def test_large_calls_are_taken_fewer_at_a_time(tmp_path: Path) -> None:
    async with FrontDoor(tmp_path) as door, other_client(door):
        gate = door.recorder.hold("jobs.enqueue")
        client = await door.connect()
        asked = [client.ask("enqueue", command="true", stdin="x" * 4_000_000) for _ in range(12)]
        await eventually_async(lambda: is_held(door), message="the rest has to stay in the socket")
        assert door.recorder.names().count("jobs.enqueue") <= 5
        gate.set()
        assert [(await client.answer()).msgid for _ in asked] == asked


@scene
async def test_a_reader_that_stops_reading_is_dropped_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "STOPPED_READER_S", 0.3)
    async with FrontDoor(tmp_path) as door, other_client(door):
        door.recorder.replies["jobs.page"] = Page([a_job(command="x" * 1_000_000)], None)
        client = await door.connect()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(200):
            client.ask("list")
        await eventually_async(lambda: door.recorder.owners_gone == 1)
        assert door.recorder.names().count("jobs.page") <= 20, "of 200 MB of answers a few were made"


@scene
async def test_a_slow_reader_gets_everything(tmp_path: Path) -> None:
    async with FrontDoor(tmp_path) as door:
        door.recorder.replies["jobs.page"] = Page([a_job(command="x" * 1_000_000)], None)
        client = await door.connect()
        asked = [client.ask("list") for _ in range(30)]
        assert sorted([(await client.answer()).msgid for _ in asked]) == asked


@scene
async def test_one_client_too_many_is_told_busy_and_a_place_is_free_again_after_one_has_left(tmp_path: Path) -> None:
    async with FrontDoor(tmp_path, max_connections=3) as door, other_client(door):
        leaver, stayer = await door.connect(), await door.connect()
        await leaver.call("status")
        extra = await door.connect()
        assert (await extra.answer()).error.startswith("busy: 3 clients are connected already")
        assert await extra.is_closed()
        await stayer.call("status")
        leaver.close()
        await eventually_async(lambda: len(door.connections._since) == 2)
        await (await door.connect()).call("status")


@scene
async def test_a_client_that_never_said_a_word_gives_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "SILENT_S", 0.0)
    async with FrontDoor(tmp_path, max_connections=3) as door, other_client(door):
        silent, talker = await door.connect(), await door.connect()
        await talker.call("status")
        await (await door.connect()).call("status")
        assert await silent.is_closed()
        await talker.call("status")


@scene
async def test_a_thousand_silent_and_half_speaking_clients_disturb_nobody(tmp_path: Path) -> None:
    async with FrontDoor(tmp_path) as door, other_client(door):
        crowd_of = [await door.connect() for _ in range(998)]
        for client in crowd_of[::2]:
            client.send(b"\x94\x00\x01")
        last = await door.connect()
        await last.call("status")
        extra = await door.connect()
        assert (await extra.answer()).error.startswith("busy: ")
        crowd_of[0].send(b"\xa6status\x90")
        assert (await crowd_of[0].answer()).result["workers"] == 3


@scene
async def test_another_user_is_turned_away_before_a_byte_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FrontDoor(tmp_path) as door, other_client(door):
        monkeypatch.setattr(peercred.os, "geteuid", lambda: 4242)
        client = await door.connect()
        client.ask("status")
        assert await client.is_closed()
        monkeypatch.undo()
        assert door.recorder.names().count("jobs.status") == 1


class NotTold:
    """A client's socket of which the kernel does not tell whose it is."""

    def getsockopt(self, *_: object) -> bytes:
        raise OSError(errno.ENOBUFS, "No buffer space available")

    def close(self) -> None:
        """As a socket."""


@scene
async def test_the_log_tells_why_a_client_is_turned_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with FrontDoor(tmp_path) as door:
        door.connections.admit(NotTold())  # type: ignore[arg-type]
        why = "cannot read its credentials: No buffer space available"
        assert caplog.messages == [f"refused a client: {why}"]
        caplog.clear()
        monkeypatch.setattr(peercred.os, "geteuid", lambda: 4242)
        assert await (await door.connect()).is_closed()
        monkeypatch.undo()
        assert caplog.messages == [f"refused a client: it belongs to another user ({os.geteuid()})"]


@scene
async def test_a_socket_that_was_removed_is_bound_again(tmp_path: Path) -> None:
    async with FrontDoor(tmp_path) as door, other_client(door):
        for _ in range(3):
            door.path.unlink()
            await eventually_async(door.path.exists)
            await (await door.connect()).call("status")


@scene
async def test_a_socket_whose_folder_was_removed_is_bound_again(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    async with FrontDoor(folder) as door, other_client(door):
        door.path.unlink()
        (folder / "lock").unlink()
        folder.rmdir()
        await eventually_async(door.path.exists)
        await (await door.connect()).call("status")


@scene
async def test_a_socket_that_cannot_be_bound_again_is_once_the_way_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listener, "FIRST_RETRY_S", 600)
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    async with FrontDoor(folder) as door, other_client(door):
        folder.rename(tmp_path / "elsewhere")
        folder.write_text("in the way")
        door.listener._retry_s = 0.01
        await eventually_async(lambda: "cannot be bound again yet" in caplog.text)
        assert str(door.path) in caplog.text
        folder.unlink()
        await eventually_async(door.path.exists)
        await (await door.connect()).call("status")


@scene
async def test_other_calls_have_their_turn_while_a_message_of_many_jobs_is_checked(tmp_path: Path) -> None:
    async with FrontDoor(tmp_path) as door:
        client, other = await door.connect(), await door.connect()
        token = (await client.call("batch.open"))["token"]
        slices: list[str] = []
        checked = Defaults._under

        def noting(self: Defaults, jobs: Any, first: int) -> Any:
            slices.append(f"{first}, {door.recorder.names().count('jobs.status')} others")
            if len(slices) == 1:
                other.ask("status")
            return checked(self, jobs, first)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Defaults, "_under", noting)
            await client.call("batch.add", token=token, jobs=[{"command": "a"}] * (12 * CHECKED_AT_ONCE))
        assert len(door.recorder.calls[-1][1][1]) == 12 * CHECKED_AT_ONCE
        assert slices[0] == "0, 0 others"
        assert slices[-1] == f"{11 * CHECKED_AT_ONCE}, 1 others"
