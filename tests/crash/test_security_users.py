"""Two users on one machine: nothing is said to a stranger's server, and nothing is heard from a stranger's client."""

import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from queuectl_client import Client, errors
from queuectl_client.protocol import rpc
from queuectld.server.folders import weakness
from queuectld.server.socketfile import SocketRefused, bind
from tests.support.daemon import Home
from tests.support.eventually import eventually
from tests.support.other_user import MAY_CHANGE_USER, OTHER_UID, as_other_user
from tests.support.raw import all_that_comes, connected

BUSINESS = rpc.request(1, "enqueue", {"command": "true", "environment": {"TOKEN": "geheim"}})


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that others can get at."""
    folder = Path(tempfile.mkdtemp(prefix="qs", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def open_wide(home: Home, path: Path) -> None:
    """Undo what keeps others away from the file, so that only the look at the peer is left."""
    home.path.chmod(0o755)
    path.parent.chmod(0o755)
    path.chmod(0o666)


def strangers_business(path: Path) -> bytes | None:
    """What a stranger who asks for something hears; None when he is not even let in."""
    with socket.socket(socket.AF_UNIX) as end:
        end.settimeout(20)
        try:
            with as_other_user():
                end.connect(str(path))
            end.sendall(BUSINESS)
        except PermissionError:
            return None
        except BrokenPipeError:
            return b""
        return all_that_comes(end)


@pytest.mark.parametrize("which", ["queuectl.sock", "state/workers.sock"])
def test_files_keep_strangers_away_from_both_sockets(home: Home, which: str) -> None:
    home.start_daemon()
    path = home.path / which
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    if MAY_CHANGE_USER:
        assert strangers_business(path) is None


@pytest.mark.parametrize("which", ["queuectl.sock", "state/workers.sock"])
def test_a_stranger_who_connects_is_turned_away_unheard(home: Home, which: str) -> None:
    home.start_daemon()
    open_wide(home, home.path / which)
    if MAY_CHANGE_USER:
        assert strangers_business(home.path / which) == b""
        eventually(lambda: "user" in home.daemon_log().partition("serving at")[2])
    home.path.chmod(0o700)
    assert home.json("list") == []
    assert "geheim" not in home.daemon_log()


def ask_and_see(path: Path, listening: socket.socket) -> tuple[errors.ForeignServer, bytes]:
    """What a client says of a server that is not to be trusted, and what that one got to hear."""
    listening.setblocking(False)
    with pytest.raises(errors.ForeignServer) as caught, Client(str(path), autostart=False) as client:
        client.enqueue("true", environment={"TOKEN": "geheim"})
    try:
        heard, _ = listening.accept()
    except BlockingIOError:
        return caught.value, b""
    with heard:
        heard.settimeout(20)
        return caught.value, all_that_comes(heard)


def test_a_server_that_runs_as_another_user_is_told_nothing(place: Path) -> None:
    path = place / "q.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        if MAY_CHANGE_USER:
            with as_other_user():
                listening.listen()  # the kernel notes who listens (unix(7))
            refusal, heard = ask_and_see(path, listening)
            assert str(refusal) == f"the server on {path} runs as user {OTHER_UID}, so nothing was sent to it"
        else:
            listening.listen()
            with as_other_user():
                refusal, heard = ask_and_see(path, listening)
    assert refusal.exit_code == 3
    assert heard == b""


@pytest.mark.parametrize("foreign", ["the socket", "the folder"])
def test_a_socket_or_folder_of_another_user_is_not_used(place: Path, foreign: str) -> None:
    path = place / "q.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        if MAY_CHANGE_USER:
            os.chown(path if foreign == "the socket" else place, OTHER_UID, OTHER_UID)
            refusal, heard = ask_and_see(path, listening)
        else:
            with as_other_user():
                refusal, heard = ask_and_see(path, listening)
    assert "belongs to user" in str(refusal)
    assert heard == b""


@pytest.mark.parametrize("kind", ["file", "link", "link to a folder", "open folder"])
def test_what_is_not_plainly_a_socket_of_ours_is_not_used(place: Path, kind: str) -> None:
    real, path = place / "real.sock", place / "q.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(real))
        listening.listen()
        match kind:
            case "file":
                path.touch()
            case "link":
                path.symlink_to(real)
            case "link to a folder":
                path.symlink_to(place)
            case "open folder":
                path = real
                place.chmod(0o777)
        refusal, heard = ask_and_see(path, listening)
        assert str(path.parent) in str(refusal)
        assert heard == b""
        if kind != "open folder":
            with pytest.raises(SocketRefused, match="cannot listen at"):
                bind(path)
        else:
            with pytest.raises(SocketRefused, match="others may write"):
                bind(place / "new.sock")


def test_the_daemon_uses_no_folder_and_no_socket_of_another_user(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(place / "q.sock"))
    if MAY_CHANGE_USER:
        os.chown(place / "q.sock", OTHER_UID, OTHER_UID)
        with pytest.raises(SocketRefused, match=f"it belongs to user {OTHER_UID}"):
            bind(place / "q.sock")
        os.chown(place, OTHER_UID, OTHER_UID)
        with pytest.raises(SocketRefused, match=f"belongs to user {OTHER_UID}"):
            bind(place / "new.sock")
    else:
        with as_other_user(), pytest.raises(SocketRefused, match="belongs to user"):
            bind(place / "q.sock")
    assert sorted(place.iterdir()) == [place / "q.sock"]


def client_attached(folder: Path, uid: int, mode: int) -> Path:
    folder.mkdir()
    if MAY_CHANGE_USER:
        os.chown(folder, uid, -1)
    folder.chmod(mode)
    return folder


def test_a_sticky_folder_is_used_only_where_its_owner_is_to_be_trusted(place: Path) -> None:
    """In a sticky folder its owner may remove what others have put there (unlink(2))."""
    assert weakness(Path("/tmp")) is None
    assert weakness(client_attached(place / "ours", os.geteuid(), 0o1777)) is None
    theirs = client_attached(place / "theirs", OTHER_UID, 0o1777)
    if MAY_CHANGE_USER:
        assert weakness(theirs) == f"the folder {theirs} belongs to user {OTHER_UID}, who could remove its files"
        with pytest.raises(SocketRefused, match=f"belongs to user {OTHER_UID}"):
            bind(theirs / "q.sock")
        home = Home()
        try:
            done = home.cli("list", env={"QUEUECTL_HOME": str(theirs)})
            assert (done.returncode, done.stdout) == (3, "")
            assert f"{theirs} belongs to user {OTHER_UID}" in done.stderr
            assert not (theirs / "queuectl.db").exists()
        finally:
            home.stop()
            home.remove()
    else:
        with as_other_user():
            assert weakness(theirs) is not None


def test_the_folders_above_are_looked_at_as_by_sshd(place: Path) -> None:
    """Who may write above could put another folder in the place of ours (StrictModes, sshd_config(5))."""
    inner = place / "above" / "home"
    above = client_attached(inner.parent, os.geteuid(), 0o755)
    inner.mkdir(mode=0o700)
    for mode, is_safe in ((0o755, True), (0o1777, True), (0o777, False), (0o757, False), (0o700, True)):
        above.chmod(mode)
        said = weakness(inner)
        assert (said is None) is is_safe, (oct(mode), said)
        assert is_safe or f"chmod go-w {above}" in str(said)
    above.chmod(0o755)
    if MAY_CHANGE_USER:
        os.chown(above, OTHER_UID, -1)
        assert weakness(inner) == f"the folder {above} belongs to user {OTHER_UID}, who could replace its contents"
        os.chown(above, 0, OTHER_UID)
        above.chmod(0o775)
        assert weakness(inner) is not None, "a group of others"
        os.chown(above, 0, os.getegid())
    link = place / "link"
    link.symlink_to(inner)
    above.chmod(0o777)
    assert weakness(link) is not None, "it is the real folders that count"


def test_a_home_of_another_user_gets_no_daemon(place: Path) -> None:
    home = Home()
    try:
        if MAY_CHANGE_USER:
            os.chown(place, OTHER_UID, OTHER_UID)
            done = home.cli("status", env={"QUEUECTL_HOME": str(place)})
            assert done.returncode == 3
            assert f"belongs to user {OTHER_UID}" in done.stderr
        else:
            done = home.cli("status", env={"QUEUECTL_HOME": "/"})  # root's
            assert done.returncode == 3
        assert "Traceback" not in done.stderr
        assert list(place.iterdir()) in ([], [place / "logs"])
    finally:
        home.stop()
        home.remove()


def test_a_stale_socket_of_ours_is_replaced(home: Home) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(home.socket))
    home.start_daemon()
    with connected(home.socket) as end:
        end.sendall(rpc.request(1, "ping"))
        assert end.recv(100) == rpc.response(1, {})
