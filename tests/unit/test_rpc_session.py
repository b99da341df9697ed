"""The calls of one connection, without a connection."""

from typing import Any

import pytest

from queuectl_client.errors import ConnectionLost
from queuectl_client.protocol import rpc
from queuectl_client.session import (
    DEFAULT_PATIENCE_S,
    SIGN_OF_LIFE_S,
    SLOW_PATIENCE_S,
    RpcSession,
    Silence,
    may_repeat,
    patience_s,
)


def test_an_answer_that_comes_too_late_is_dropped() -> None:
    session = RpcSession()
    msgid, _ = session.call("status", {})
    session.forget(msgid)
    assert session.receive(rpc.response(msgid, {})) == []
    assert not session.has_answer(msgid)
    assert not session.is_asked(msgid)


def test_an_answer_to_nothing_is_ignored() -> None:
    session = RpcSession()
    assert session.receive(rpc.response(77, {})) == []
    assert not session.has_answer(77)


def test_the_next_session_goes_on_counting() -> None:
    session = RpcSession()
    first, _ = session.call("status", {})
    second, _ = session.next().call("status", {})
    assert second > first


def test_a_subscription_goes_with_its_connection_until_it_is_made_anew() -> None:
    session = RpcSession()
    session.call("events.subscribe", {})
    session.check_subscription()
    session = session.next().next()
    session.call("status", {})
    with pytest.raises(ConnectionLost):
        session.check_subscription()
    session.call("events.subscribe", {})
    session.check_subscription()


def test_notifications_of_a_form_we_do_not_know_are_ignored() -> None:
    session = RpcSession()
    session.receive(b"\x93\x02\xa5event\x05" + rpc.notification("event", {"a": 1}) + rpc.notification("event"))
    assert list(session.notifications) == [rpc.Notification("event", {"a": 1}), rpc.Notification("event", {})]


def test_a_daemon_that_does_not_know_hello_is_talked_to_all_the_same() -> None:
    session = RpcSession()
    msgid, data = session.call("status", {})
    hello = next(iter(rpc.Decoder().feed(data)))
    assert isinstance(hello, rpc.Request)
    session.receive(
        rpc.error_response(hello.msgid, "unknown_method", "hello?", plain=True) + rpc.response(msgid, {"a": 1})
    )
    assert session.take(msgid) == {"a": 1}


@pytest.mark.parametrize(
    "method, params, patience",
    [
        ("status", {}, DEFAULT_PATIENCE_S),
        ("enqueue_many", {}, SLOW_PATIENCE_S),
        ("job.wait", {}, None),
        ("job.wait", {"timeout": 5}, 5 + DEFAULT_PATIENCE_S),
        ("job.logs", {}, DEFAULT_PATIENCE_S),
        ("job.logs", {"wait": True}, None),
        ("worker.stop", {}, None),
        ("worker.stop", {"wait": False}, DEFAULT_PATIENCE_S),
        ("daemon.shutdown", {}, None),
    ],
)
def test_how_long_an_answer_may_take(method: str, params: dict[str, Any], patience: float | None) -> None:
    assert patience_s(method, params) == patience


@pytest.mark.parametrize("method", ["status", "job.wait", "job.logs", "list", "config.set"])
def test_what_reads_may_be_repeated(method: str) -> None:
    assert may_repeat(method, {})


@pytest.mark.parametrize(
    "method", ["enqueue", "job.retry", "dlq.retry", "worker.start", "events.subscribe", "batch.add"]
)
def test_what_would_be_done_twice_may_not(method: str) -> None:
    assert not may_repeat(method, {})


def test_a_daemon_is_asked_once_whether_it_lives_and_is_silent_after_its_patience() -> None:
    silence = Silence(10.0, 100.0)
    assert silence.deadline == 100.0 + SIGN_OF_LIFE_S
    silence.heard(99.0)
    assert silence.deadline == 100.0 + SIGN_OF_LIFE_S, "that was before"
    silence.heard(103.0)
    assert silence.deadline == 103.0 + SIGN_OF_LIFE_S
    assert silence.may_ask(120.0)
    assert silence.deadline == 130.0
    assert not silence.may_ask(130.0)
    silence.heard(131.0)
    assert silence.deadline == 131.0 + SIGN_OF_LIFE_S
    assert silence.may_ask(150.0), "it lived since"


def test_who_has_any_patience_never_asks() -> None:
    silence = Silence(None, 100.0)
    silence.heard(101.0)
    assert silence.deadline is None
    assert not silence.may_ask(1e9)
