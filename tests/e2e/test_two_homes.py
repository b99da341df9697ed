"""Several stores of one user: each client meets the daemon of its own, or starts one, or is refused."""

import json
import os
import signal
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from queuectl_client import Client
from queuectl_client.paths import read_lock
from queuectl_client.protocol import rpc
from tests.support.daemon import Home
from tests.support.eventually import eventually

Env = dict[str, str]
PLACES = ("HOME", "QUEUECTL_HOME", "QUEUECTL_NO_AUTOSTART", "XDG_RUNTIME_DIR", "XDG_DATA_HOME", "XDG_STATE_HOME")


def environment(home: Home, **places: object) -> Env:
    """The environment of a user's shell, with these places below the home in it."""
    rest = {key: value for key, value in home.env.items() if not key.startswith("XDG_") and key not in PLACES}
    (home.path / "run").mkdir(exist_ok=True, mode=0o700)
    return rest | {"TMPDIR": str(home.path / "run")} | {name: str(home.path / str(at)) for name, at in places.items()}


@pytest.fixture
def house(home: Home) -> Home:
    """A home whose own environment says nothing; each call brings one."""
    home.env = {key: value for key, value in os.environ.items() if not key.startswith("QUEUECTL_")}
    return home


def stores(house: Home, runtime: bool) -> dict[str, Env]:
    """Three shells of one user with three stores."""
    run = {"XDG_RUNTIME_DIR": "run"} if runtime else {}
    return {
        "a": environment(house, HOME="a", **run),
        "b": environment(house, HOME="b", **run),
        "c": environment(house, HOME="a", XDG_DATA_HOME="c", **run),
    }


def cli(house: Home, env: Env, *args: str) -> str:
    """The stdout of a `queuectl` that succeeds, in this environment alone."""
    house.env = env
    return house.ok(*args)


@pytest.mark.parametrize("runtime", [True, False], ids=["with XDG_RUNTIME_DIR", "without"])
def test_each_client_meets_the_daemon_of_its_own_store(house: Home, runtime: bool) -> None:
    shells = stores(house, runtime)
    for number, env in enumerate(shells.values(), 1):
        for _ in range(number):
            cli(house, env, "enqueue", "-q", "true")
    for number, env in enumerate(shells.values(), 1):
        assert len(json.loads(cli(house, env, "list", "--json"))) == number
    told = {name: json.loads(cli(house, env, "daemon", "status", "--json")) for name, env in shells.items()}
    for what in ("pid", "socket", "store", "state", "logs"):
        assert len({info[what] for info in told.values()}) == 3, what
    cli(house, shells["b"], "worker", "start", "-d")
    cli(house, shells["b"], "wait")
    cli(house, shells["b"], "daemon", "stop")
    house.env = shells["b"]
    assert house.cli("daemon", "status").returncode == 3
    for name, completed, waiting in (("a", 0, 1), ("b", 2, 0), ("c", 0, 3)):
        said = cli(house, shells[name], "status")
        assert f"Pending: {waiting}\n" in said
        assert f"Completed: {completed}\n" in said
    for env in shells.values():
        cli(house, env, "daemon", "stop", "--now")


def test_a_daemon_of_another_store_is_none(house: Home) -> None:
    """An older version's socket had one name for all stores, and a killed daemon leaves its lock behind."""
    mine, other = environment(house, QUEUECTL_HOME="mine"), environment(house, QUEUECTL_HOME="other")
    cli(house, other, "enqueue", "-q", "true")
    theirs = json.loads(cli(house, other, "daemon", "status", "--json"))["socket"]
    (house.path / "mine").mkdir(mode=0o700)
    lock = house.path / "mine/queuectld.lock"
    lock.write_text(json.dumps({"pid": 1, "socket": theirs, "version": "0.1.0"}) + "\n")
    house.env = mine
    refused = house.cli("--no-autostart", "list")
    assert refused.returncode == 3
    assert (
        f"serves another store, {house.path}/other/queuectl.db; none serves {house.path}/mine/queuectl.db"
        in refused.stderr
    )
    assert house.cli("daemon", "stop").stderr == "No daemon is running.\n"
    assert json.loads(cli(house, mine, "list", "--json")) == []
    assert len(json.loads(cli(house, other, "list", "--json"))) == 1
    assert read_lock(str(lock))["socket"] == f"{house.path}/mine/queuectl.sock"
    assert len(json.loads(cli(house, mine, "--socket", theirs, "list", "--json"))) == 1, "it was named"
    with Client(theirs, environ=mine, autostart=False) as client:
        client.call("status")
        assert client.server["store"] == f"{house.path}/other/queuectl.db"
    for env in (mine, other):
        cli(house, env, "daemon", "stop")


def test_the_copy_of_a_home_has_a_daemon_of_its_own(house: Home) -> None:
    """Its lock names the original's daemon, which lives and has the pid that the lock tells."""
    original, copy = environment(house, QUEUECTL_HOME="original"), environment(house, QUEUECTL_HOME="copy")
    cli(house, original, "enqueue", "-q", "--id", "first", "true")
    subprocess.run(["cp", "-a", house.path / "original", house.path / "copy"], check=True)
    cli(house, copy, "enqueue", "-q", "--id", "second", "true")
    info = json.loads(cli(house, copy, "daemon", "status", "--json"))
    assert info["store"] == f"{house.path}/copy/queuectl.db"
    assert [job["id"] for job in json.loads(cli(house, original, "list", "--json"))] == ["first"]
    cli(house, copy, "daemon", "stop", "--now")
    assert json.loads(cli(house, original, "--no-autostart", "daemon", "status", "--json"))["pid"] != info["pid"]
    cli(house, original, "daemon", "stop")


def test_a_lock_that_nobody_holds_stands_in_nobodys_way(house: Home) -> None:
    env = environment(house, QUEUECTL_HOME="mine")
    (house.path / "mine").mkdir(mode=0o700)
    lock = house.path / "mine/queuectld.lock"
    lock.write_text(json.dumps({"pid": 1, "socket": "/etc/passwd", "version": "0.1.0"}) + "\n")
    assert json.loads(cli(house, env, "list", "--json")) == []
    cli(house, env, "daemon", "stop")


def test_a_daemon_whose_socket_a_service_manager_listens_on_is_known_by_its_lock(house: Home) -> None:
    """The kernel names the manager as the peer (unix(7)), whose pid is not in the lock."""
    env = environment(house, HOME="a", XDG_RUNTIME_DIR="run")
    cli(house, env, "daemon", "start")
    lock = house.path / "a/.local/share/queuectl/queuectld.lock"
    said = json.loads(lock.read_text())
    lock.write_text(json.dumps(said | {"pid": 1}) + "\n")
    cli(house, env, "--no-autostart", "status")
    os.kill(said["pid"], signal.SIGTERM)


def test_two_names_of_one_store_have_one_daemon(house: Home) -> None:
    real, link = environment(house, QUEUECTL_HOME="real"), environment(house, QUEUECTL_HOME="link")
    cli(house, real, "enqueue", "-q", "true")
    (house.path / "link").mkdir(mode=0o700)
    (house.path / "link/queuectl.db").symlink_to(house.path / "real/queuectl.db")
    (house.path / "same").symlink_to(house.path / "real")
    same = environment(house, QUEUECTL_HOME="same")
    pids = {json.loads(cli(house, env, "daemon", "status", "--json"))["pid"] for env in (real, link, same)}
    assert len(pids) == 1
    cli(house, link, "daemon", "stop")
    for number, env in enumerate((link, same, real), 1):  # each may be the one that starts it
        cli(house, env, "worker", "start", "-d")
        assert cli(house, env, "run", "echo hi") == "hi\n"
        for other in (real, link, same):
            assert cli(house, other, "logs", "last") == "hi\n"
            assert f"Active Workers: {number}\n" in cli(house, other, "status")
        cli(house, env, "daemon", "stop")
    assert "problem" not in cli(house, link, "doctor")
    assert (house.path / "link/queuectl.db").is_symlink()


@pytest.mark.parametrize("what", ["the store", "the home", "the folder above"])
def test_a_link_that_leads_nowhere_is_named_and_nothing_is_made_in_its_place(house: Home, what: str) -> None:
    """It is a disk that is not mounted: an empty store in its place would hide every job."""
    at = {"the store": "q/queuectl.db", "the home": "q", "the folder above": "q"}[what]
    home = "q/deep" if what == "the folder above" else "q"
    link = house.path / at
    link.parent.mkdir(exist_ok=True, mode=0o700)
    link.symlink_to(house.path / "disk/place")
    house.env = environment(house, QUEUECTL_HOME=home)
    done = house.cli("list")
    assert done.returncode == 3
    assert str(link) in done.stderr
    assert f"symbolic link to {house.path}/disk/place, which is not there" in done.stderr
    assert "fault" not in done.stderr
    assert not (house.path / "disk").exists()
    assert link.is_symlink()
    if what == "the store":
        assert str(link) in house.cli("doctor").stdout


def test_a_store_is_asked_for_until_the_daemon_answers(house: Home) -> None:
    """Somebody who listens in the shared place and says nothing of a store is talked to; one who hangs up is not."""
    env = environment(house, HOME="a", XDG_RUNTIME_DIR="run")
    house.env = env
    first = house.cli("--no-autostart", "list").stderr
    path = Path(first.partition("listens on ")[2].partition(";")[0])
    path.parent.mkdir(mode=0o700, parents=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def hang_up() -> None:
            server.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        done = house.cli("--no-autostart", "list")
        thread.join()
        assert done.returncode == 3
        assert "went away" in done.stderr

        def refuse() -> None:
            with server.accept()[0] as end:
                end.recv(1000)
                end.sendall(rpc.error_response(None, "busy", "too many", plain=True))

        thread = threading.Thread(target=refuse)
        thread.start()
        done = house.cli("--no-autostart", "list")
        thread.join()
        assert (done.returncode, done.stderr) == (1, "Error: too many\n")


def test_a_fifo_in_the_locks_place_hangs_nobody(house: Home) -> None:
    for name in ("queuectld.lock", "start.lock"):
        house.env = environment(house, QUEUECTL_HOME=f"q{name}")
        folder = house.path / f"q{name}"
        folder.mkdir(mode=0o700)
        os.mkfifo(folder / name)
        done = house.cli("list")
        assert done.returncode == 3
        assert f"cannot lock {folder / name}: it is not a regular file" in done.stderr
        (folder / name).unlink()
        assert json.loads(cli(house, house.env, "list", "--json")) == []
        cli(house, house.env, "daemon", "stop")
        eventually(lambda at=folder: not (at / "queuectl.sock").exists())
