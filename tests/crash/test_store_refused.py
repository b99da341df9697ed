"""A store that this queuectl cannot read is refused in words, and no byte of it, or beside it, is changed."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from queuectld.store.mapping.files import SCHEMA_VERSION
from tests.support.daemon import Home
from tests.support.programs import MOUNTING, needs

ROOT: Final = Path(__file__).parents[2]


def empty(path: Path) -> None:
    path.write_bytes(b"")


def rubbish(path: Path) -> None:
    path.write_bytes(os.urandom(20_000))


def foreign(path: Path) -> None:
    path.unlink()
    other = sqlite3.connect(path)
    other.execute("PRAGMA journal_mode = WAL")
    other.execute("CREATE TABLE job (id TEXT)")
    other.close()


def truncated(path: Path) -> None:
    os.truncate(path, 3 * 4096)


def damaged(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(2 * 4096)
        file.write(os.urandom(20 * 4096))


def newer(path: Path) -> None:
    store = sqlite3.connect(path)
    store.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    store.close()


REFUSED: Final[dict[str, Callable[[Path], None]]] = {
    "an empty file": empty,
    "not a database": rubbish,
    "another program": foreign,
    "truncated": truncated,
    "is damaged": damaged,
    f"version {SCHEMA_VERSION + 1}; this queuectl reads up to version {SCHEMA_VERSION}": newer,
}


@pytest.fixture
def used(home: Home) -> Iterator[Home]:
    """A home whose daemon has ended after it stored some jobs. What a test puts in the store's place is taken away."""
    home.ok("enqueue", "-f", "-", input="true\n" * 200)
    home.ok("daemon", "stop")
    yield home
    for file in home.path.glob("queuectl.db*"):
        file.unlink()


def seen(home: Home) -> dict[str, tuple[bytes, int, int]]:
    """The store and what lies beside it: content, time of the last change, mode."""
    files = {path.name: (path.read_bytes(), path.stat()) for path in home.path.glob("queuectl.db*")}
    return {name: (content, found.st_mtime_ns, found.st_mode) for name, (content, found) in files.items()}


@pytest.mark.parametrize("words", REFUSED)
def test_it_is_named_with_the_way_out_and_left_as_it_is(used: Home, words: str) -> None:
    REFUSED[words](used.store)
    before = seen(used)
    refused = used.cli("list")
    assert (refused.returncode, refused.stdout) == (3, "")
    for part in (words, str(used.store), "upgrade" if REFUSED[words] is newer else "doctor"):
        assert part in refused.stderr
    assert "Traceback" not in refused.stderr + used.daemon_log()
    found = used.cli("doctor")
    assert found.returncode == 1
    assert "PROBLEM  store" in found.stdout
    assert seen(used) == before
    assert used.cli("list").returncode == 3, "it is refused again, in the same way"


def test_another_store_in_its_place_is_taken_at_once(used: Home) -> None:
    kept = used.store.with_name("kept")
    shutil.copyfile(used.store, kept)
    rubbish(used.store)
    assert used.cli("list").returncode == 3
    kept.rename(used.store)
    assert len(used.json("list")) == 200
    used.stop()


@contextmanager
def out_of_reach(home: Home) -> Iterator[None]:
    """Nobody can write in the home: mounted read-only for root, whom no mode stops; else by its mode."""
    if os.geteuid() == 0:
        subprocess.run(["mount", "--bind", str(home.path), str(home.path)], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", str(home.path)], check=True)
    else:
        home.path.chmod(0o500)
    try:
        yield
    finally:
        if os.geteuid() == 0:
            subprocess.run(["umount", "--lazy", str(home.path)], check=True)
        else:
            home.path.chmod(0o700)


@needs(MOUNTING)
def test_a_folder_that_cannot_be_written_to_is_named(used: Home) -> None:
    (used.path / "logs" / "queuectld.log").unlink()
    with out_of_reach(used):
        refused = used.cli("list")
        assert refused.returncode == 3
        assert str(used.path) in refused.stderr
        assert "ead-only" in refused.stderr or "ermission" in refused.stderr
        assert "Traceback" not in refused.stderr
        found = used.cli("doctor")
        assert found.returncode == 1
        assert f"{used.path} cannot be written to" in found.stdout
    assert len(used.json("list")) == 200
    used.stop()


@pytest.mark.parametrize("which", ["logs", "state"])
def test_a_folder_that_vanishes_under_the_daemon_does_not_end_it(home: Home, which: str) -> None:
    daemon = home.start_daemon()
    home.ok("worker", "scale", "1")
    home.ok("enqueue", "--id", "before", "true")
    home.ok("wait", "before")
    (home.path / which).rename(home.path / "gone")
    home.ok("enqueue", "--id", "after", "--max-retries", "1", "head -c 100000 /dev/zero | tr '\\0' x; exit 6")
    home.cli("wait", "after")
    job = home.json("show", "after")
    assert (job["state"], job["exit_code"], job["crashes"]) == ("dead", 6, 0)
    assert len(home.ok("logs", "after")) == 100_000
    home.ok("worker", "scale", "2")
    assert len(home.json("worker", "list")) == 2
    assert daemon.poll() is None


OLDER: Final = """
import os, signal, sqlite3, sys
from pathlib import Path
from queuectld.store.mapping import files, schema
from queuectld.store.records import StoreRefused

path, end = Path(sys.argv[1]), sys.argv[2]
files.SCHEMA_VERSION += 1

def step(connection):
    connection.execute("ALTER TABLE queue ADD COLUMN colour TEXT")
    connection.execute("CREATE TABLE shade AS SELECT seq, randomblob(2000) AS noise FROM job")
    if end == "in the step":
        os.kill(os.getpid(), signal.SIGKILL)

real = files.copy
def copy(source, target):
    real(source, target)
    if end == "after the backup":
        os.kill(os.getpid(), signal.SIGKILL)
files.copy = copy
schema.prepare(path, {files.SCHEMA_VERSION - 1: step}, files.SCHEMA_VERSION)
if end == "before the log is moved":
    os.kill(os.getpid(), signal.SIGKILL)
"""


def migrate(home: Home, end: str) -> int:
    """A queuectl of the next version opens the store, and dies at this step; 'never': it does not."""
    words = [sys.executable, "-c", OLDER, str(home.store), end]
    return subprocess.run(words, cwd=ROOT, env=os.environ, check=False).returncode


@pytest.mark.parametrize("end", ["after the backup", "in the step"])
def test_a_migration_that_is_killed_is_harmless(used: Home, end: str) -> None:
    ids = used.ok("list", "-q")
    used.ok("daemon", "stop")
    assert migrate(used, end) == -signal.SIGKILL
    assert used.ok("list", "-q") == ids, "the old queuectl goes on with the old store"
    used.ok("daemon", "stop")
    assert migrate(used, "never") == 0
    newest = sorted(used.path.glob("*.backup"))
    assert len(newest) == 2
    refused = used.cli("list")
    assert f"version {SCHEMA_VERSION + 1}; this queuectl reads up to version {SCHEMA_VERSION}" in refused.stderr
    shutil.copyfile(newest[-1], used.store)
    assert used.ok("list", "-q") == ids, "the backup is the way back"
    used.stop()
