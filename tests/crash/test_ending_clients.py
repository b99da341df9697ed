"""A client is killed in the middle of a verb that runs a program of its own: that program ends with it."""

import signal
import subprocess
import sys
from pathlib import Path

from tests.support import processes
from tests.support.daemon import Home
from tests.support.eventually import eventually


def test_what_a_killed_client_has_started_ends_with_it_and_the_next_backup_is_whole(home: Home, tmp_path: Path) -> None:
    home.ok("enqueue", "--id", "kept", "--hold", "true")
    home.ok("daemon", "stop")
    eventually(lambda: not processes.processes_of(home.path))
    fired = tmp_path / "fired"
    fired.mkdir()
    target = home.path / "monday.backup"
    armed = {"QUEUECTL_FAILPOINTS": "store.copied=stop", "QUEUECTL_FAILPOINTS_DIR": str(fired)}
    client = home.popen("backup", str(target), env=armed, stderr=subprocess.PIPE)
    eventually((fired / "store.copied").exists)
    assert len(processes.processes_of(home.path)) == 2
    client.kill()
    assert client.wait() == -signal.SIGKILL
    eventually(lambda: not processes.processes_of(home.path), message="what it has started lives on")
    assert [file.name for file in home.path.glob("monday*")] == ["monday.backup.new"]
    home.ok("backup", str(target))
    assert [file.name for file in home.path.glob("monday*")] == ["monday.backup"]


def test_a_program_whose_client_is_gone_already_does_nothing(home: Home) -> None:
    words = [sys.executable, "-P", "-m", "queuectld", "doctor", "--parent", "1"]
    done = subprocess.run(words, env=home.env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")
