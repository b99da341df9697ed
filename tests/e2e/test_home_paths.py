"""Paths of the home: any length, relative ones; and clients that start at once without a daemon."""

import subprocess
from pathlib import Path

import pytest

from tests.support.daemon import QUEUECTL, Home


def test_a_home_of_any_depth_works_with_workers_and_from_inside_a_job(home: Home) -> None:
    deep = home.path / ("a" * 120) / ("b" * 120)
    env = {"QUEUECTL_HOME": str(deep)}
    assert home.cli("worker", "start", "-d", env=env).returncode == 0
    done = home.cli("run", "queuectl status --json", env=env)
    assert done.returncode == 0, done.stderr
    assert '"processing": 1' in done.stdout
    assert home.cli("run", "head -c 100000 /dev/zero | wc -c", env=env).stdout == "100000\n"
    assert home.cli("daemon", "restart", env=env).returncode == 0
    assert home.cli("run", "echo again", env=env).stdout == "again\n"
    home.ok("daemon", "stop", env=env)
    assert not list(deep.rglob("*.sock"))


def test_a_socket_whose_name_alone_is_too_long_is_refused_in_words(home: Home) -> None:
    done = home.cli("--socket", str(home.path / ("s" * 120)), "status")
    assert done.returncode == 3
    assert "too long" in done.stderr
    assert "Traceback" not in done.stderr


def test_of_twenty_clients_at_once_none_fails_and_one_says_that_it_started_the_daemon(home: Home) -> None:
    clients = [
        subprocess.Popen(
            [QUEUECTL, "enqueue", f"echo {number}"],
            env=home.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(20)
    ]
    said = [client.communicate(timeout=60) for client in clients]
    assert [client.returncode for client in clients] == [0] * 20, said
    assert len({out for out, _ in said}) == 20
    assert sum("Started the queuectl daemon." in err for _, err in said) == 1


@pytest.mark.parametrize("by_hand", [False, True], ids=["autostarted", "by hand"])
def test_nothing_that_lies_in_the_working_directory_is_imported(home: Home, tmp_path: Path, by_hand: bool) -> None:
    """A folder is somebody's project: it may well have a `socket.py`."""
    for name in ("msgpack", "peewee", "queuectl_client", "queuectld", "selectors", "socket"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from the working directory')\n")
    if by_hand:
        home.start_daemon(cwd=tmp_path)
    assert home.ok("run", "echo hi", cwd=tmp_path) == "hi\n"
    assert "problem" not in home.ok("doctor", cwd=tmp_path)


def test_a_relative_home_is_the_same_to_client_and_daemon(home: Home) -> None:
    assert home.ok("enqueue", "-q", "true", env={"QUEUECTL_HOME": "below"}, cwd=home.path) == "job_1\n"
    assert (home.path / "below" / "queuectl.db").exists()
    stopped = home.cli("daemon", "stop", env={"QUEUECTL_HOME": str(home.path / "below")})
    assert (stopped.returncode, stopped.stderr) == (0, "The daemon has stopped.\n")
