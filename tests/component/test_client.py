"""The client against a small server on a real socket: calls, pipelining, loss, silence, foreigners."""

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from queuectl_client import Client, errors
from queuectl_client.calls import REPEATS
from queuectl_client.connect import check_owner
from queuectl_client.paths import resolve, socket_address
from queuectl_client.protocol import rpc
from queuectl_client.session import may_repeat
from tests.support.eventually import eventually
from tests.support.fakeserver import FakeServer, Refuse, Silent, Vanish

JOB = {"id": "job_1", "seq": 1, "command": "true", "state": "pending", "attempts": 0, "exit_code": None}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "q.sock"


@pytest.fixture
def server(path: Path) -> Iterator[FakeServer]:
    with FakeServer(path) as started:
        yield started


@pytest.fixture
def client(path: Path) -> Iterator[Client]:
    with Client(str(path), autostart=False, environ={"QUEUECTL_HOME": str(path.parent)}) as made:
        yield made


def once_then(first: Exception, answer: Any) -> Any:
    """An answer that fails the first time."""
    tries = iter([True])

    def reply(_: dict[str, Any]) -> Any:
        if next(tries, False):
            raise first
        return answer

    return reply


# Calls


def test_hello_goes_with_the_first_call_alone(server: FakeServer, client: Client) -> None:
    assert client.status() == {}
    assert client.status() == {}
    assert [method for method, _ in server.calls] == ["hello", "status", "status"]
    assert server.calls[0][1]["protocol"] == rpc.PROTOCOL_VERSION


def test_parameters_that_are_none_are_left_out(server: FakeServer, client: Client) -> None:
    client.call("list", queue="q", limit=None)
    assert server.calls[-1] == ("list", {"queue": "q"})


def test_answers_are_matched_to_their_calls_whatever_their_order(server: FakeServer, client: Client) -> None:
    server.answers["job.get"] = lambda params: {"seq": params["id"]}
    first, second = client.send("job.get", {"id": 1}), client.send("job.get", {"id": 2})
    assert client.result(second) == {"seq": 2}
    assert client.result(first) == {"seq": 1}


def test_a_flood_of_calls_does_not_block_on_answers_nobody_reads_yet(server: FakeServer, client: Client) -> None:
    server.answers["job.get"] = lambda _: {"data": "x" * 100_000}
    sent = [client.send("job.get", {"id": "y" * 10_000}) for _ in range(200)]
    assert all(len(client.result(msgid)["data"]) == 100_000 for msgid in sent)


@pytest.mark.parametrize("code", errors.BY_CODE)
def test_an_error_becomes_the_exception_of_its_code(server: FakeServer, client: Client, code: str) -> None:
    def refuse(_: dict[str, Any]) -> None:
        raise Refuse(code, "because", {"seq": 7})

    server.answers["status"] = refuse
    with pytest.raises(errors.BY_CODE[code]) as caught:
        client.status()
    assert (str(caught.value), caught.value.data, caught.value.code) == ("because", {"seq": 7}, code)
    assert caught.value.exit_code in (1, 2, 4, 5)


def test_an_error_of_a_code_nobody_knows_keeps_its_words() -> None:
    assert str(errors.from_wire({"code": "sleepy", "message": "too tired"})) == "too tired"
    assert isinstance(errors.from_wire("not_found: no job"), errors.NotFound)
    assert str(errors.from_wire("just: words")) == "just: words"
    assert str(errors.from_wire(None))


def test_a_call_that_cannot_be_sent_is_refused_and_the_connection_stays(server: FakeServer, client: Client) -> None:
    for value in ("\ud800", 2**70, object(), "x" * rpc.MAX_MESSAGE_BYTES):
        with pytest.raises(errors.InvalidParams):
            client.call("status", key=value)
    assert client.status() == {}


def test_another_protocol_names_the_side_to_upgrade(server: FakeServer, client: Client) -> None:
    server.answers["hello"] = lambda _: {"protocol": 99}
    with pytest.raises(errors.VersionMismatch, match="upgrade the client"):
        client.status()


def test_a_daemon_that_refuses_hello_refuses_every_call(server: FakeServer, client: Client) -> None:
    def refuse(_: dict[str, Any]) -> None:
        raise Refuse("version", "upgrade the daemon")

    server.answers["hello"] = refuse
    for _ in range(2):
        with pytest.raises(errors.VersionMismatch, match="upgrade the daemon"):
            client.status()


def test_notifications_come_with_their_map(server: FakeServer, client: Client) -> None:
    events = client.events(since=3, kinds=["job.dead"])
    assert server.calls[-1] == ("events.subscribe", {"since": 3, "kinds": ["job.dead"]})
    server.tell("gossip", {"not": "an event"})
    server.tell("event", {"event_seq": 4})
    assert next(events) == {"event_seq": 4}
    server.hang_up()
    with pytest.raises(errors.ConnectionLost):
        next(events)


def test_a_waiting_call_can_be_cancelled(server: FakeServer, client: Client) -> None:
    server.answers["job.wait"] = once_then(Silent(), {})
    msgid = client.send("job.wait", {"ids": ["a"]})
    client.cancel_call(msgid)
    eventually(lambda: server.told == [rpc.Notification("cancel", [{"msgid": msgid}])])


# A daemon that goes away


def test_nobody_there(client: Client) -> None:
    with pytest.raises(errors.NoDaemon, match="daemon start"):
        client.status()


def test_a_stale_socket_is_nobody(path: Path, client: Client) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    with pytest.raises(errors.NoDaemon):
        client.status()


def test_a_connection_closed_while_idle_is_replaced_without_loss(server: FakeServer, client: Client) -> None:
    client.status()
    server.hang_up()
    client.call("worker.start", count=1)
    assert server.methods() == ["status", "worker.start"]


def test_a_read_cut_short_is_made_again(server: FakeServer, client: Client) -> None:
    server.answers["status"] = once_then(Vanish(), {"workers": 3})
    assert client.status() == {"workers": 3}
    assert server.methods() == ["status", "status"]


def test_an_enqueue_cut_short_is_asked_for_again_by_its_request(server: FakeServer, client: Client) -> None:
    server.answers["enqueue"] = once_then(Vanish(), JOB)
    assert client.enqueue("true").id == "job_1"
    (_, first), (_, second) = (call for call in server.calls if call[0] == "enqueue")
    assert first["request"] == second["request"]


def test_a_change_cut_short_is_not_made_twice(server: FakeServer, client: Client) -> None:
    server.answers["job.cancel"] = once_then(Vanish(), {"jobs": []})
    with pytest.raises(errors.ConnectionLost):
        client.cancel("a")
    assert server.methods() == ["job.cancel"]
    assert client.cancel("a") == []


def test_every_way_to_enqueue_may_be_repeated() -> None:
    for method in ("enqueue", "enqueue_many", "batch.commit"):
        assert may_repeat(method, {"request": "x"})
        assert not may_repeat(method, {})
    assert not may_repeat("job.retry", {})


def test_a_wait_goes_on_with_the_next_daemon(server: FakeServer, client: Client, path: Path) -> None:
    def restart(_: dict[str, Any]) -> None:
        server.answers["job.wait"] = lambda _: {"done": True, "jobs": [JOB | {"state": "completed"}]}
        raise Vanish

    server.answers["job.wait"] = restart
    assert client.wait("job_1")[0].has_ended


def test_a_wait_goes_on_however_often_the_daemon_is_restarted_and_for_no_longer_than_its_own_time(
    server: FakeServer, client: Client
) -> None:
    waits: list[float] = []

    def restart(params: dict[str, Any]) -> dict[str, Any]:
        waits.append(params["timeout"])
        if len(waits) <= 3 * REPEATS:
            raise Vanish
        return {"done": True, "jobs": [JOB | {"state": "completed"}]}

    server.answers["job.wait"] = restart
    assert client.wait("job_1", timeout=500)[0].has_ended
    assert 400 < waits[0] <= 500
    assert waits == sorted(waits, reverse=True)
    assert len(set(waits)) == len(waits), "each time it is the rest"


def test_a_daemon_that_dies_before_it_says_anything_is_not_tried_for_ever(server: FakeServer, client: Client) -> None:
    def die(_: dict[str, Any]) -> None:
        raise Vanish

    server.answers["hello"] = die
    with pytest.raises(errors.ConnectionLost):
        client.wait("job_1")
    assert [method for method, _ in server.calls] == ["hello"] * (1 + REPEATS)


def test_a_wait_gives_up_on_a_daemon_that_stays_away(
    server: FakeServer, client: Client, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leave(_: dict[str, Any]) -> None:
        path.unlink()
        raise Vanish

    monkeypatch.setattr("queuectl_client.reconnect.AWAY_WAITING_S", 0.05)
    server.answers["job.wait"] = leave
    with pytest.raises(errors.ConnectionLost, match="did not come back"):
        client.wait("job_1")


def test_answers_of_a_lost_connection_are_not_mixed_up_with_later_ones(server: FakeServer, client: Client) -> None:
    server.answers["job.get"] = once_then(Vanish(), {})
    msgid = client.send("job.get", {"id": 1})
    with pytest.raises(errors.ConnectionLost):
        client.result(msgid)
    client.status()
    with pytest.raises(errors.ConnectionLost):
        client.result(msgid)


def test_a_daemon_that_is_silent_is_unreachable(server: FakeServer, path: Path) -> None:
    server.answers["status"] = once_then(Silent(), {})
    with Client(str(path), autostart=False, timeout=0.05) as client:
        with pytest.raises(errors.DaemonUnreachable, match="no answer within") as caught:
            client.status()
        assert caught.value.exit_code == 3
        assert client.status() == {}, "the late answer of the first call is nobody's"


def test_rubbish_from_the_server_is_an_error(server: FakeServer, client: Client) -> None:
    client.status()
    server.answers["job.kill"] = once_then(Silent(), {})
    msgid = client.send("job.kill", {"ids": ["a"]})
    for connection in server._connections:
        connection.sendall(b"\xc1")
    with pytest.raises(errors.ConnectionLost, match="cannot be read"):
        client.result(msgid)
    assert client.status() == {}


def test_a_daemon_that_is_full_says_so(path: Path, client: Client) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        client.connect()
        connection, _ = listener.accept()
        with connection:
            msgid = client.send("job.kill", {})
            connection.sendall(rpc.error_response(None, "busy", "too many connections", plain=True))
        with pytest.raises(errors.Busy, match="too many"):
            client.result(msgid)


# Foreigners


def test_a_file_or_a_link_is_no_socket(path: Path, server: FakeServer) -> None:
    link = path.with_name("link.sock")
    link.symlink_to(path)
    plain = path.with_name("file.sock")
    plain.touch()
    for foreign in (link, plain):
        with pytest.raises(errors.ForeignServer):
            Client(str(foreign), autostart=False).status()
    assert server.calls == []


def test_a_folder_where_everybody_may_write_is_refused(path: Path, server: FakeServer) -> None:
    path.parent.chmod(0o777)
    with pytest.raises(errors.ForeignServer, match="everybody"):
        Client(str(path), autostart=False).status()
    path.parent.chmod(0o1777)
    check_owner(str(path))
    path.parent.chmod(0o770)
    check_owner(str(path))


def test_another_users_socket_folder_or_server_is_refused(
    path: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Client(str(path), autostart=False) as client:
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
        with pytest.raises(errors.ForeignServer, match="belongs to user"):
            client.status()
        monkeypatch.setattr("queuectl_client.connect.check_owner", lambda path: None)
        with pytest.raises(errors.ForeignServer, match="runs as user"):
            client.status()
    assert server.calls == []


def test_the_owner_of_the_folder_counts(path: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    found = os.stat(path.parent)
    foreign = os.stat_result((stat.S_IFDIR | 0o755, *found[1:4], 12345, *found[5:10]))
    monkeypatch.setattr(os, "stat", lambda *_: foreign)
    with pytest.raises(errors.ForeignServer, match=r"belongs to user 12345"):
        check_owner(str(path))


def test_a_long_path_is_connected_to(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    real = folder / "q.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        with socket_address(str(real)) as address:
            listener.bind(address)
        listener.listen()
        with Client(str(real), autostart=False) as client:
            client.connect()


def test_the_lock_of_a_running_daemon_names_the_socket(tmp_path: Path, server: FakeServer, path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    environ = {"QUEUECTL_HOME": str(home)}
    Path(resolve(environ).lock).write_text(f'{{"pid": 1, "socket": "{path}", "version": "1"}}\n')
    with Client(autostart=False, environ=environ) as client:
        assert client.status() == {}
