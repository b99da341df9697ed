"""The store's disk fails, somebody locks the store or takes it away: no false acknowledgement, and words
that name it."""

import os
import sqlite3
from pathlib import Path

import pytest

from queuectl_client import Client
from queuectl_client.errors import Busy
from tests.crash.disks import SYNCS, allow_tracing, failing, let_rest
from tests.support.daemon import Daemon, Home
from tests.support.eventually import eventually
from tests.support.programs import needs

pytestmark = needs("strace")


@pytest.fixture
def daemon(home: Home) -> Daemon:
    """A daemon that strace may attach to, with one stored job and one worker."""
    allow_tracing(home)
    started = home.start_daemon()
    home.ok("worker", "scale", "1")
    home.ok("enqueue", "--id", "before", "true")
    home.ok("wait", "before")
    return started


@pytest.fixture
def resting_daemon(home: Home, daemon: Daemon) -> Daemon:
    """The same with nothing left to write of its own."""
    let_rest(home)
    return daemon


def traced(log: Path) -> list[str]:
    """The system calls that strace noted; it notes signals (`---`) and ends of threads (`+++`) as well."""
    return [line for line in log.read_text().splitlines() if "--- SIG" not in line and "+++ " not in line]


def log_of(home: Home) -> Path:
    return home.store.with_name(home.store.name + "-wal")


@pytest.mark.parametrize(
    "what", [f"{SYNCS}:error=EIO:when=1", "pwrite64:error=EIO:when=1"], ids=["fsync", "write"]
)  # fmt: skip
def test_after_an_io_error_nobody_is_told_yes_and_the_daemon_stops_in_words(
    home: Home, resting_daemon: Daemon, what: str
) -> None:
    with failing(home, what, paths=[home.store, log_of(home)]) as calls:
        refused = home.cli("enqueue", "--id", "doubtful", "true", "--no-autostart")
        assert resting_daemon.wait(20) == 1
    assert (refused.returncode, refused.stdout) == (1, "")
    assert str(home.store) in refused.stderr
    assert "I/O error" in refused.stderr
    assert home.daemon_log().count("I/O error") == 2, "said once, and once for the time that was not saved"
    assert "Traceback" not in home.daemon_log()
    noted = traced(calls)
    assert "INJECTED" in noted[-1], "nothing is written or synced a second time"
    home.start_daemon()
    home.ok("wait")
    assert home.states().pop("before") == "completed"


def test_a_sync_that_fails_while_the_log_is_moved_stops_the_daemon_too(home: Home, daemon: Daemon) -> None:
    """Some time after its commits. All of them are still in the log."""
    with failing(home, f"{SYNCS}:error=EIO:when=1", paths=[home.store]) as calls:
        home.cli("enqueue", "-f", "-", "--hold", input="true\n" * 30_000)
        assert daemon.wait(20) == 1
    noted = traced(calls)
    assert "INJECTED" in noted[-1]
    assert len(noted) == 1, "the file is not synced again, not even by the closing of it"
    assert f"{home.store} cannot be synced" in home.daemon_log()
    home.start_daemon()
    counts = home.json("status")["counts"]
    assert (counts["completed"], counts["held"]) in ((1, 30_000), (1, 0))


def test_a_used_up_quota_is_a_full_disk(home: Home, daemon: Daemon) -> None:
    """SQLite calls it an I/O error, but it passes."""
    with failing(home, "pwrite64,fallocate:error=EDQUOT", paths=[]):
        refused = home.cli("enqueue", "--id", "later", "true")
        assert refused.returncode == 1
        assert "full" in refused.stderr
    assert daemon.poll() is None
    home.ok("enqueue", "--id", "later", "true")
    home.ok("wait", "later")


def test_somebody_who_locks_the_store_delays_it_and_then_it_is_busy(home: Home, daemon: Daemon) -> None:
    lock = sqlite3.connect(home.store, isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    with Client(autostart=False, environ=home.env, timeout=30) as client:
        waiting = client.send("enqueue", {"id": "patient", "command": "true"})
        assert home.states() == {"before": "completed"}, "who reads does not wait"
        lock.execute("ROLLBACK")
        assert client.result(waiting)["id"] == "patient"
        lock.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Busy, match=str(home.store)):
            client.call("enqueue", id="impatient", command="true")
        lock.execute("ROLLBACK")
    lock.close()
    home.ok("wait", "patient")
    assert "impatient" not in home.states()
    assert daemon.poll() is None


def test_a_result_waits_for_somebody_who_locks_the_store(home: Home, daemon: Daemon) -> None:
    gate = home.path / "gate"
    os.mkfifo(gate)
    home.ok("enqueue", "--id", "running", "--max-retries", "1", f"read line < {gate}; exit 4")
    eventually(lambda: home.states()["running"] == "processing")
    lock = sqlite3.connect(home.store, isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    gate.write_text("go\n")
    eventually(lambda: "locked" in home.daemon_log(), deadline=30)
    lock.execute("ROLLBACK")
    lock.close()
    home.cli("wait", "running")
    job = home.json("show", "running")
    assert (job["state"], job["exit_code"], job["crashes"]) == ("dead", 4, 0)
    assert daemon.poll() is None


@pytest.mark.parametrize("how", ["store removed", "store replaced", "log removed", "folder moved"])
def test_a_store_that_is_taken_away_ends_the_daemon_before_it_acknowledges_anything(
    home: Home, daemon: Daemon, how: str
) -> None:
    kept = home.path / "kept"
    kept.mkdir()
    ours = [home.store, log_of(home)]
    for file in ours[1:] if how == "log removed" else ours:
        file.rename(kept / file.name)
    if how == "store replaced":
        home.store.write_bytes((kept / home.store.name).read_bytes())
    told = home.cli("enqueue", "--id", "lost", "true", "--no-autostart")
    # The daemon may notice it by itself, a little after its start: then the client finds nobody.
    assert told.returncode in (1, 3)
    assert told.stdout == ""
    assert daemon.wait(20) == 1
    assert str(home.store) in (told.stderr if told.returncode == 1 else home.daemon_log())
    assert "Traceback" not in home.daemon_log()
    for file in kept.iterdir():
        file.rename(home.path / file.name)
    home.store.with_name(home.store.name + "-shm").unlink(missing_ok=True)
    home.start_daemon()
    assert home.states()["before"] == "completed"


def test_the_log_stays_small_however_much_is_stored(home: Home, daemon: Daemon) -> None:
    most = 0
    for _ in range(12):
        home.ok("enqueue", "-f", "-", "--hold", "-q", input=f": {'x' * 500}\n" * 5_000)
        most = max(most, log_of(home).stat().st_size)
    assert most < 24 * 1024 * 1024
    home.ok("daemon", "stop")
    assert not log_of(home).exists()


@pytest.mark.parametrize("point", ["store.written", "store.committed"])
def test_a_fault_in_the_thread_that_writes_stops_the_daemon_and_nobody_waits_for_ever(home: Home, point: str) -> None:
    """An OSError where none is foreseen. The next daemon knows all that was acknowledged."""
    fired = home.path / "fired"
    fired.mkdir()
    armed = {"QUEUECTL_FAILPOINTS": f"{point}=enospc@12", "QUEUECTL_FAILPOINTS_DIR": str(fired)}
    daemon = home.start_daemon(env=armed)
    acknowledged = []
    for number in range(40):
        done = home.cli("enqueue", "--id", f"j{number}", "--hold", "true", "--no-autostart")
        if done.returncode:
            break
        acknowledged.append(f"j{number}")
    assert daemon.wait(20) == 1
    # It may have been a write of the daemon's own, between two clients: then the next one finds nobody.
    told = {1: "the daemon stops", 3: "no daemon listens"}
    assert told[done.returncode] in done.stderr
    assert acknowledged
    assert "Unexpected OSError in the writer thread" in home.daemon_log()
    home.start_daemon()
    known = home.states()
    assert set(acknowledged) <= set(known)
    assert len(known) <= len(acknowledged) + 1
