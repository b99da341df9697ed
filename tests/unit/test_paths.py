"""Where things lie, which socket is in use, and sockets with long paths."""

import json
import os
import socket
from pathlib import Path

import pytest

from queuectl_client.paths import LONGEST_ADDRESS, read_lock, resolve, socket_address, socket_in_use


def test_one_folder_holds_everything() -> None:
    paths = resolve({"QUEUECTL_HOME": "/q"})
    assert paths._asdict() == {
        "socket": "/q/queuectl.sock",
        "store": "/q/queuectl.db",
        "lock": "/q/queuectld.lock",
        "start_lock": "/q/start.lock",
        "logs": "/q/logs",
        "state": "/q/state",
        "worker_socket": "/q/state/workers.sock",
        "config_file": "/q/queuectl.toml",
        "explicit_socket": False,
    }


def test_a_relative_home_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve({"QUEUECTL_HOME": "q"}).store == str(tmp_path / "q" / "queuectl.db")


def test_without_a_home_the_platform_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RUNTIME_DIR", "DATA_HOME", "STATE_HOME", "CONFIG_HOME"):
        monkeypatch.setenv(f"XDG_{name}", str(tmp_path / name))
    paths = resolve({})
    assert paths.socket == str(tmp_path / "RUNTIME_DIR/queuectl/queuectl.sock")
    assert paths.store == str(tmp_path / "DATA_HOME/queuectl/queuectl.db")
    assert os.path.dirname(paths.lock) == os.path.dirname(paths.store)
    assert paths.state == str(tmp_path / "STATE_HOME/queuectl")
    assert paths.config_file == str(tmp_path / "CONFIG_HOME/queuectl/queuectl.toml")


def test_a_missing_runtime_folder_is_nothing_to_be_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    assert resolve({}).socket.endswith("/queuectl/queuectl.sock")  # a warning is an error in these tests


def test_the_socket_can_be_named_alone() -> None:
    assert resolve({"QUEUECTL_HOME": "/q", "QUEUECTL_SOCKET": "/s"}).socket == "/s"
    assert resolve({"QUEUECTL_HOME": "/q", "QUEUECTL_SOCKET": "/s"}, socket="/t").socket == "/t"
    assert resolve({"QUEUECTL_HOME": "/q", "QUEUECTL_SOCKET": "/s"}).store == "/q/queuectl.db"
    assert resolve({"QUEUECTL_HOME": "/q", "QUEUECTL_SOCKET": ""}).socket == "/q/queuectl.sock"


def test_the_lock_names_the_socket_in_use(tmp_path: Path) -> None:
    home = {"QUEUECTL_HOME": str(tmp_path)}
    paths = resolve(home)
    assert socket_in_use(paths) == paths.socket
    Path(paths.lock).write_text(json.dumps({"pid": 1, "socket": "/other/q.sock", "version": "1"}) + "\n")
    assert socket_in_use(paths) == "/other/q.sock"
    assert socket_in_use(resolve(home, socket="/mine")) == "/mine"


@pytest.mark.parametrize("content", ["", "\n", "{", "[]", "5", '{"pid": 1}', '{"pid": 1, "socket": null}', "\udcff"])
def test_a_lock_with_nothing_in_it_names_no_socket(tmp_path: Path, content: str) -> None:
    paths = resolve({"QUEUECTL_HOME": str(tmp_path)})
    Path(paths.lock).write_text(content, errors="surrogateescape")
    assert socket_in_use(paths) == paths.socket


def test_a_lock_that_is_not_there_says_nothing(tmp_path: Path) -> None:
    assert read_lock(str(tmp_path / "none")) == {}


@pytest.mark.parametrize("length", [LONGEST_ADDRESS - 1, LONGEST_ADDRESS, LONGEST_ADDRESS + 1, 300])
def test_a_socket_is_reached_however_long_its_path(tmp_path: Path, length: int) -> None:
    folder = str(tmp_path)
    while len(folder) < length - 100:
        folder += "/" + "f" * 80
    os.makedirs(folder, exist_ok=True)
    path = folder + "/" + "s" * (length - len(folder) - 1)
    assert len(path) == length
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        with socket_address(path) as address:
            server.bind(address)
        server.listen()
        assert os.path.exists(path)
        with socket_address(path) as address:
            client.connect(address)
    assert not [name for name in os.listdir("/proc/self/fd") if _leads_to(name, folder)]


def _leads_to(descriptor: str, folder: str) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}") == folder
    except FileNotFoundError:
        return False
