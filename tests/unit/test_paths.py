"""Where things lie, which socket is in use, and sockets with long paths."""

import json
import os
import pwd
import socket
from pathlib import Path

import pytest

from queuectl_client.paths import LONGEST_ADDRESS, read_lock, resolve, socket_address, socket_in_use
from queuectl_client.plainfile import read_plain

XDG = ("RUNTIME_DIR", "DATA_HOME", "STATE_HOME", "CONFIG_HOME", "CACHE_HOME")


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
        "link": None,
    }


def test_a_relative_home_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve({"QUEUECTL_HOME": "q"}).store == str(tmp_path / "q" / "queuectl.db")


def test_without_a_home_the_platform_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in XDG:
        monkeypatch.delenv(f"XDG_{name}", raising=False)
    home = pwd.getpwuid(os.geteuid()).pw_dir
    monkeypatch.setenv("HOME", home)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    paths = resolve({})
    assert paths.socket == str(tmp_path / "queuectl/queuectl.sock")
    assert paths.store == f"{home}/.local/share/queuectl/queuectl.db"
    assert os.path.dirname(paths.lock) == os.path.dirname(paths.store)
    assert paths.state == f"{home}/.local/state/queuectl"
    assert paths.logs == f"{home}/.local/state/queuectl/log"
    assert paths.config_file == f"{home}/.config/queuectl/queuectl.toml"


def test_a_store_elsewhere_has_a_socket_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `HOME=/elsewhere` the runtime folder stays that of the user; with XDG_DATA_HOME so does the state folder."""
    for name in XDG:
        monkeypatch.delenv(f"XDG_{name}", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    found = []
    for home in ("a", "b"):
        monkeypatch.setenv("HOME", str(tmp_path / home))
        found.append(resolve({}))
        assert found[-1].state == str(tmp_path / home / ".local/state/queuectl")
    for name in ("c", "d"):
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / name))
        found.append(resolve({}))
        assert found[-1].logs.startswith(found[-1].state)
        assert found[-1].state.startswith(str(tmp_path / "b/.local/state/queuectl/store-"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    found.append(resolve({"QUEUECTL_SOCKET": "/s"}))
    for place in ("socket", "worker_socket", "lock"):
        assert len({getattr(paths, place) for paths in found}) == len(found) - (place == "lock"), place
    assert all(Path(paths.socket).parent == tmp_path / "queuectl" for paths in found[:-1])
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "link"))
    (tmp_path / "link").symlink_to(tmp_path / "d")
    assert resolve({}).socket == found[3].socket, "the name is made of the store's real path"


def test_a_store_that_is_a_link_is_what_it_leads_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in XDG:
        monkeypatch.delenv(f"XDG_{name}", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    target = resolve({"QUEUECTL_HOME": str(tmp_path / "real")})
    for name, store in (("one", target.store), ("two", resolve({}).store), ("three", str(tmp_path / "other.db"))):
        Path(store).parent.mkdir(parents=True, exist_ok=True)
        Path(store).touch()
        (tmp_path / name).mkdir()
        (tmp_path / name / "queuectl.db").symlink_to(store)
        found = resolve({"QUEUECTL_HOME": str(tmp_path / name)})
        assert (found.store, found.link) == (store, str(tmp_path / name / "queuectl.db"))
        assert found.socket == str(tmp_path / name / "queuectl.sock")
        if name == "three":
            assert found.lock == str(tmp_path / "other.db.queuectld.lock")
            assert found.worker_socket == str(tmp_path / "other.db.state/workers.sock")
        else:
            same = target if name == "one" else resolve({})
            assert (found.lock, found.start_lock, found.state) == (same.lock, same.start_lock, same.state)
            assert (found.logs, found.worker_socket) == (same.logs, same.worker_socket)


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


RUBBISH = ["", "\n", "{", "[]", "5", '{"pid": 1}', '{"pid": 1, "socket": null}', "\udcff"]
RUBBISH += ["[" * 60_000, "\0", "x" * 99_999]
NO_PATHS = ["\\u0000", "/a\\u0000b", "/\\ud800", "relative", ""]


@pytest.mark.parametrize("content", RUBBISH + [f'{{"pid": 1, "socket": "{path}"}}' for path in NO_PATHS])
def test_a_lock_with_nothing_in_it_names_no_socket(tmp_path: Path, content: str) -> None:
    paths = resolve({"QUEUECTL_HOME": str(tmp_path)})
    Path(paths.lock).write_text(content, errors="surrogateescape")
    assert socket_in_use(paths) == paths.socket


@pytest.mark.parametrize("kind", ["FIFO", "folder", "link", "socket", "device"])
def test_whatever_lies_in_the_locks_place_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "lock"
    match kind:
        case "FIFO":
            os.mkfifo(place)
        case "folder":
            place.mkdir()
        case "link":
            place.symlink_to("/dev/zero")
        case "socket":
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(str(place))
        case "device":
            place = Path("/dev/zero")
    assert read_lock(str(place)) == {}
    with pytest.raises(OSError, match="it is a symbolic link" if kind == "link" else "it is not a regular file"):
        read_plain(place, 10)


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
