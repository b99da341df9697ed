"""`queuectl daemon start` where a daemon is about to exit: it can no longer be kept, so the next one is started."""

import subprocess
from types import SimpleNamespace
from typing import Any, cast

import pytest

from queuectl_client.cli.commands import daemon
from queuectl_client.cli.invocation import Invocation
from queuectl_client.errors import ConnectionLost, NoDaemon, QueuectlError, WrongState


@pytest.mark.parametrize("error", [WrongState, ConnectionLost, NoDaemon])
def test_a_daemon_that_can_no_longer_be_kept_is_replaced_once_it_has_ended(
    error: type[QueuectlError], monkeypatch: pytest.MonkeyPatch
) -> None:
    ending = subprocess.Popen(["sleep", "0.1"])
    said: list[str] = []
    has_ended: list[bool] = []

    def call(method: str, **params: Any) -> Any:
        assert (method, params) == ("daemon.drain", {"resume": True})
        raise error("about to exit")

    def start(_: object) -> None:
        has_ended.append(ending.poll() is not None)

    monkeypatch.setattr(daemon, "_start", start)
    invocation = SimpleNamespace(client=lambda **_: SimpleNamespace(call=call), close=lambda: None, say=said.append)
    info = {"pid": ending.pid, "draining": True, "stopping": True}
    daemon._resume(cast(Invocation, invocation), info)
    assert has_ended == [True]
    assert said == ["The daemon that was stopping has ended, so another one was started."]
    ending.wait()
    daemon._resume(cast(Invocation, invocation), info)  # it had gone before it could be waited for
    assert has_ended == [True, True]
