"""The user units: systemd reads them without a word, and they say what the daemon relies on."""

import configparser
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.daemon import QUEUECTLD
from tests.support.programs import needs

UNITS = Path(__file__).parents[2] / "systemd"


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """A home as a user's after the README's installation: units in place, the command where ExecStart looks."""
    commands = tmp_path / ".local" / "bin"
    commands.mkdir(parents=True)
    (commands / "queuectld").symlink_to(QUEUECTLD)
    (tmp_path / "run").mkdir(mode=0o700)
    folder = tmp_path / ".config" / "systemd" / "user"
    folder.mkdir(parents=True)
    for unit in ("queuectld.service", "queuectld.socket"):
        shutil.copy(UNITS / unit, folder)
    return folder


def complaints(folder: Path) -> str:
    """What `systemd-analyze --user verify` says. It exits 0 on unknown keys, so its words are what counts."""
    home = folder.parents[2]
    analyze = shutil.which("systemd-analyze")
    assert analyze is not None, "systemd-analyze is missing: install systemd"
    done = subprocess.run(
        [analyze, "--user", "verify", "./queuectld.service", "./queuectld.socket"],
        cwd=folder,
        # Neither a user manager nor a session is needed, but a folder for the one and a home for %h.
        env={"PATH": os.environ["PATH"], "HOME": str(home), "XDG_RUNTIME_DIR": str(home / "run")},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stderr or f"exit {done.returncode}" * (done.returncode != 0)


def settings(unit: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string((UNITS / unit).read_text())
    return parser


@needs("systemd-analyze")
def test_systemd_reads_the_units_without_complaint(units: Path) -> None:
    assert complaints(units) == ""


@needs("systemd-analyze")
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("OOMPolicy=continue", "OOMPolicy=go-on"),
        ("WatchdogSec=", "WatchDogSec="),
        ("/queuectld serve", "/queuectlx serve"),
    ],
)
def test_a_slip_in_a_unit_would_be_noticed(units: Path, right: str, wrong: str) -> None:
    service = units / "queuectld.service"
    service.write_text(service.read_text().replace(right, wrong))
    assert complaints(units) != ""


def test_the_service_says_what_the_daemon_relies_on() -> None:
    service = settings("queuectld.service")["Service"]
    relied_on = {
        "Type": "notify",
        "KillMode": "process",
        "Delegate": "yes",
        "OOMPolicy": "continue",
        "Restart": "on-failure",
    }
    assert {key: service[key] for key in relied_on} == relied_on
    assert int(service["WatchdogSec"]) > 0


def test_a_person_may_restart_the_service_many_times_in_a_row() -> None:
    """systemd's own limit is five starts in ten seconds, and then it starts nothing until it is told to forget."""
    assert int(settings("queuectld.service")["Unit"]["StartLimitBurst"]) > 20


def test_a_stop_of_the_service_leaves_the_socket_in_place() -> None:
    """RuntimeDirectory= would remove the folder, and the socket in it, whenever the service stops."""
    assert "RuntimeDirectory" not in settings("queuectld.service")["Service"]


def test_the_socket_is_the_users_alone_and_where_clients_look() -> None:
    socket = settings("queuectld.socket")["Socket"]
    assert socket["ListenStream"] == "%t/queuectl/queuectl.sock"
    assert (socket["SocketMode"], socket["DirectoryMode"]) == ("0600", "0700")


def test_the_service_starts_a_command_that_exists() -> None:
    command = settings("queuectld.service")["Service"]["ExecStart"].split()
    assert command[0] == "%h/.local/bin/queuectld"
    done = subprocess.run([QUEUECTLD, *command[1:], "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
