"""`queuectl doctor` and `queuectl backup`, with a daemon and without one."""

import json
import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from queuectld.store.reads.invariants import check_invariants
from tests.support.daemon import Home


def problems(home: Home) -> list[dict[str, str]]:
    """What the doctor calls a problem; it has to exit as it says."""
    done = home.cli("doctor", "--json")
    found = [finding for finding in json.loads(done.stdout) if finding["level"] == "problem"]
    assert done.returncode == (1 if found else 0)
    return found


def test_all_is_well_before_the_first_use_while_a_daemon_runs_and_after_it(home: Home) -> None:
    assert problems(home) == []
    home.ok("enqueue", "true")
    assert problems(home) == []
    assert f"runs as process {home.daemon_pid()}" in home.ok("doctor")
    home.ok("daemon", "stop")
    assert problems(home) == []
    assert "none is running" in home.ok("doctor")


def test_a_file_where_a_folder_belongs_is_a_problem_for_all_verbs(home: Home, tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    env = {"QUEUECTL_HOME": str(tmp_path / "taken")}
    done = home.cli("doctor", env=env)
    assert (done.returncode, done.stderr) == (1, "")
    assert f"{tmp_path}/taken is not a folder" in done.stdout
    done = home.cli("enqueue", "true", env=env)
    assert (done.returncode, done.stdout) == (3, "")
    assert f"{tmp_path}/taken/" in done.stderr


@pytest.mark.parametrize("content", [b"", b"not a store" * 1000], ids=["empty", "foreign"])
def test_a_store_that_is_none_is_a_problem_with_a_way_out_and_is_left_as_it_is(home: Home, content: bytes) -> None:
    home.store.parent.mkdir(mode=0o700, exist_ok=True)
    home.store.write_bytes(content)
    (found,) = problems(home)
    assert str(home.store) in found["said"]
    assert "backup" in found["way_out"]
    assert home.store.read_bytes() == content
    assert home.cli("status").returncode == 3
    home.store.unlink()


def test_damage_in_the_middle_of_the_store_is_found(home: Home) -> None:
    home.ok("enqueue", "-f", "-", input="true\n" * 500)
    home.ok("daemon", "stop")
    with home.store.open("r+b") as file:
        file.seek(3 * 4096)
        file.write(os.urandom(8 * 4096))
    assert {found["subject"] for found in problems(home)} == {"store"}
    home.store.unlink()


def test_what_the_store_says_wrongly_of_its_jobs_is_mended_while_no_daemon_runs(home: Home) -> None:
    home.ok("enqueue", "-f", "-", input="true\n" * 3)
    home.ok("daemon", "stop")
    connection = sqlite3.connect(home.store)
    connection.execute("UPDATE count SET n = 7")
    connection.commit()
    connection.close()
    (found,) = problems(home)
    assert "`queuectl doctor --repair`" in found["way_out"]
    home.ok("status")
    done = home.cli("doctor", "--repair")
    assert (done.returncode, "a daemon has the store open" in done.stdout) == (1, True)
    home.ok("daemon", "stop")
    said = home.ok("doctor", "--repair")
    assert "mended: counts that differ from the jobs (1)" in said
    assert f"is kept in {home.store}.unrepaired-1.backup" in said
    assert problems(home) == []
    assert home.json("status")["counts"]["pending"] == 3


def test_damage_to_one_job_concerns_no_other(home: Home) -> None:
    home.ok("enqueue", "-q", "echo one")
    home.ok("enqueue", "-q", "--max-retries", "0", "echo two", env={"TOKEN": "x"})
    home.ok("daemon", "stop")
    connection = sqlite3.connect(home.store)
    connection.execute("UPDATE job SET environment = 999 WHERE seq = 2")
    connection.commit()
    connection.close()
    said = home.cli("doctor", "--repair").stdout
    assert "jobs without their environment" in said
    assert "put a backup in its place: " not in said  # the only one is that of the store as it was
    home.ok("enqueue", "-q", "echo three")
    home.ok("worker", "start", "-d")
    home.ok("wait")
    assert home.states() == {"job_1": "completed", "job_2": "dead", "job_3": "completed"}
    assert home.json("show", "job_2")["reason"].startswith("cannot-start: its environment is missing")
    connection = sqlite3.connect(home.store)
    connection.execute("DELETE FROM job WHERE seq = 2")
    connection.execute("DELETE FROM attempt WHERE seq = 2")
    connection.execute("UPDATE count SET n = n - 1 WHERE state = 'dead'")
    connection.commit()
    connection.close()


def test_what_is_open_to_others_is_a_warning(home: Home) -> None:
    home.ok("enqueue", "true")
    home.store.chmod(0o644)
    done = home.cli("doctor", "-q")
    assert done.returncode == 0
    assert f"chmod go= {home.store}" in done.stdout


def test_a_settings_file_that_cannot_be_read_is_a_problem(home: Home) -> None:
    (home.path / "queuectl.toml").write_text("log_level = 7\n")
    (found,) = problems(home)
    assert found["subject"] == "settings file"


def test_a_backup_of_a_running_queue_is_a_whole_store_of_its_own(home: Home, tmp_path: Path) -> None:
    home.ok("enqueue", "--id", "kept", "echo kept")
    target = tmp_path / "copy.db"
    home.ok("backup", str(target))
    home.ok("enqueue", "--id", "later", "true")
    assert target.stat().st_mode & 0o777 == 0o600
    assert check_invariants(target) == []
    home.ok("daemon", "stop")
    for leftover in home.path.glob("queuectl.db*"):
        leftover.unlink()
    shutil.copy(target, home.store)
    assert [job["id"] for job in home.json("list")] == ["kept"]


def test_a_backup_takes_the_place_of_no_other_file_unless_told_to(home: Home, tmp_path: Path) -> None:
    home.ok("enqueue", "true")
    home.ok("daemon", "stop")
    target = tmp_path / "precious"
    target.write_text("precious")
    refused = home.cli("backup", str(target))
    assert refused.returncode == 1
    assert str(target) in refused.stderr
    assert target.read_text() == "precious"
    home.ok("backup", "--force", str(target))
    itself = home.cli("backup", "--force", str(home.store))
    assert (itself.returncode, "is the store itself" in itself.stderr) == (refused.returncode, True)
    home.ok("enqueue", "true")
    assert list(tmp_path.iterdir()) == [target]
    assert check_invariants(target) == []


def test_a_backup_of_no_store_and_into_no_folder_says_so(home: Home, tmp_path: Path) -> None:
    assert "no such store" in home.cli("backup", str(tmp_path / "x")).stderr
    home.ok("enqueue", "true")
    done = home.cli("backup", str(tmp_path / "missing" / "x"))
    assert (done.returncode, "missing" in done.stderr) == (1, True)
