"""The store's file: modes from the first moment, whole or not there, and never touched when it is not ours."""

import asyncio
import errno
import fcntl
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NoReturn

import pytest

from queuectld.store.mapping import connection, files, schema
from queuectld.store.records import StoreRefused
from queuectld.store.store import Store
from tests.store.lab import Lab, in_lab

NEWER = files.SCHEMA_VERSION + 1


def _made(path: Path, jobs: int = 3) -> Path:
    async def run() -> None:
        lab = Lab(path)
        lab.open()
        for _ in range(jobs):
            await lab.add("x" * 900)
        await lab.store.close()

    asyncio.run(run())
    return path


def _open(path: Path) -> None:
    async def run() -> None:
        store = Store.open(path, host="h", loop=asyncio.get_running_loop())
        await store.close()

    asyncio.run(run())


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _rubbish(path: Path) -> None:
    path.write_bytes(os.urandom(5000))


def _short_rubbish(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\x00")


def _text(path: Path) -> None:
    path.write_text("[settings]\nmax_retries = 3\n")


def _other_program(path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE job (id TEXT)")
    other.close()


def _newer(path: Path) -> None:
    newer = sqlite3.connect(_made(path))
    newer.execute(f"PRAGMA user_version = {files.SCHEMA_VERSION + 1}")
    newer.close()


def _truncated(path: Path) -> None:
    os.truncate(_made(path, 30), 8192)


def _damaged(path: Path) -> None:
    with _made(path, 30).open("r+b") as file:
        file.seek(3 * 4096)
        file.write(os.urandom(20 * 4096))


def _no_tables(path: Path) -> None:
    files.create(path, ["CREATE TABLE other (id INTEGER)"])


BAD: dict[str, Callable[[Path], None]] = {
    "an empty file": _empty, "not a database": _rubbish, "damaged or": _short_rubbish, "not a data": _text,
    "another program": _other_program, f"schema version {NEWER}; this queuectl reads up to version {NEWER - 1}": _newer,
    "truncated": _truncated, "is damaged": _damaged, "lacks its tables": _no_tables,
}  # fmt: skip


@pytest.mark.parametrize("words", BAD)
def test_a_file_that_is_no_store_is_refused_in_words_and_not_touched(words: str, tmp_path: Path) -> None:
    path = tmp_path / "queuectl.db"
    BAD[words](path)
    before, times = path.read_bytes(), path.stat().st_mtime_ns
    with pytest.raises(StoreRefused, match=words) as refused:
        _open(path)
    assert str(path) in str(refused.value)
    assert path.read_bytes() == before
    assert path.stat().st_mtime_ns == times


def test_a_newer_store_whose_version_is_in_the_log_alone_is_refused_too(tmp_path: Path) -> None:
    """A newer daemon was killed just after it had migrated."""
    made = _made(tmp_path / "made.db")
    newer = sqlite3.connect(made, isolation_level=None)
    newer.execute(f"PRAGMA user_version = {files.SCHEMA_VERSION + 1}")
    path = tmp_path / "queuectl.db"
    for end in ("", "-wal"):
        shutil.copyfile(f"{made}{end}", f"{path}{end}")
    newer.close()
    before = path.read_bytes()
    assert files.read_version(path) == files.SCHEMA_VERSION
    with pytest.raises(StoreRefused, match=f"schema version {NEWER}"):
        _open(path)
    assert path.read_bytes() == before


def test_files_and_folders_are_their_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "data" / "queuectl" / "queuectl.db"
    seen: set[int] = set()

    @in_lab
    async def scenario(lab: Lab) -> None:
        await lab.add()
        seen.update(stat.S_IMODE(file.stat().st_mode) for file in lab.path.parent.iterdir())

    old = os.umask(0)
    try:
        _made(path)
        scenario(tmp_path)
    finally:
        os.umask(old)
    assert seen == {0o600}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_what_a_killed_start_left_behind_is_in_nobodys_way(tmp_path: Path) -> None:
    path = tmp_path / "queuectl.db"
    (tmp_path / "queuectl.db.new").write_bytes(b"half a store")
    (tmp_path / "queuectl.db.new-journal").write_bytes(b"half a journal")
    _made(path)
    assert [file.name for file in tmp_path.iterdir()] == ["queuectl.db"]


def test_a_store_whose_daemon_was_killed_is_opened_again(tmp_path: Path) -> None:
    """Killed at once after its start: only the log holds what was committed."""
    path = tmp_path / "queuectl.db"
    killed = subprocess.run([sys.executable, "-c", ADD_AND_DIE, str(path)], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL

    @in_lab
    async def scenario(lab: Lab) -> None:
        assert (await lab.get(1)).command == "kept"

    (tmp_path / "home").mkdir()
    for file in tmp_path.glob("queuectl.db*"):
        file.rename(tmp_path / "home" / file.name)
    scenario(tmp_path)


ROOT = Path(__file__).parents[2]
ADD_AND_DIE = """
import asyncio, os, pathlib, sys
from tests.store.lab import Lab
async def run():
    lab = Lab(pathlib.Path(sys.argv[1]))
    lab.open()
    await lab.add("kept")
    os.kill(os.getpid(), 9)
asyncio.run(run())
"""


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreRefused, match="file/x"):
        _open(tmp_path / "file" / "x" / "queuectl.db")


def test_a_fresh_store_has_the_schema_of_the_models(tmp_path: Path) -> None:
    path = tmp_path / "queuectl.db"
    schema.prepare(path)
    assert files.read_version(path) == files.SCHEMA_VERSION
    made = sqlite3.connect(path)
    assert made.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert len(schema.definitions(made)) == sum(line.startswith("CREATE ") for line in schema.ddl())
    made.close()


@in_lab
async def test_a_backup_is_a_whole_store_and_goes_over_no_file(lab: Lab) -> None:
    await lab.add(id="kept")
    target = lab.path.with_name("copy.db")
    files.copy_of(lab.path, target)
    await lab.add(id="later")
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    copy = sqlite3.connect(target)
    assert copy.execute("SELECT id FROM job").fetchall() == [("kept",)]
    copy.close()
    with pytest.raises(FileExistsError):
        files.copy_of(lab.path, target)
    schema.prepare(target)


@pytest.mark.parametrize("what", ["a draft", "a draft with a journal"])
def test_what_a_killed_backup_left_behind_is_removed(tmp_path: Path, what: str) -> None:
    path, target = tmp_path / "queuectl.db", tmp_path / "copy.db"
    schema.prepare(path)
    draft = target.with_name("copy.db.new")
    draft.write_bytes(path.read_bytes()[:8192])
    if what == "a draft with a journal":
        draft.with_name("copy.db.new-journal").write_bytes(b"half of one")
    files.copy_of(path, target)
    assert sorted(file.name for file in tmp_path.glob("copy.db*")) == ["copy.db"]
    with closing(sqlite3.connect(target)) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_backup_that_another_process_writes_is_left_alone(tmp_path: Path) -> None:
    path, target = tmp_path / "queuectl.db", tmp_path / "copy.db"
    schema.prepare(path)
    with target.with_name("copy.db.new").open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(FileExistsError, match="is being written by another backup"):
            files.copy_of(path, target)
    assert target.with_name("copy.db.new").exists()


@pytest.mark.parametrize("kind", ["fifo", "link"])
def test_a_backup_is_written_into_nothing_that_lies_in_the_drafts_place(tmp_path: Path, kind: str) -> None:
    path, draft = tmp_path / "queuectl.db", tmp_path / "copy.db.new"
    schema.prepare(path)
    if kind == "fifo":
        os.mkfifo(draft)
    else:
        draft.symlink_to(path)
    before = path.read_bytes()
    with pytest.raises(OSError, match=str(draft)):
        files.copy_of(path, tmp_path / "copy.db")
    assert path.read_bytes() == before


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ENOMEM])
def test_a_look_at_the_stores_files_that_fails_is_no_removal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    def no_stat(*_: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    @in_lab
    async def scenario(lab: Lab) -> None:
        await lab.add()
        with monkeypatch.context() as patch:
            patch.setattr(lab.store._writer._file_identity, "_stat", no_stat)
            await lab.add()
            await lab.add()
        await lab.add()
        assert lab.broken == []

    scenario(tmp_path)
    assert caplog.text.count(f"is still in its place: {os.strerror(number)}") == 1


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE])
def test_a_file_that_is_no_more_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def no_stat(*_: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    identity = files.FileIdentity(tmp_path / "queuectl.db")
    monkeypatch.setattr(identity, "_stat", no_stat)
    assert identity.changed_path() == str(tmp_path / "queuectl.db")


def test_the_writer_is_durable_and_its_checkpoints_are_its_own(tmp_path: Path) -> None:
    """What a power cut would show, and a test cannot: commits are synced, and no failed fsync is swallowed."""
    path = tmp_path / "queuectl.db"
    schema.prepare(path)
    writer, reader = connection.open_writer(path), connection.open_reader(path)
    for pragma, value in (("synchronous", 2), ("journal_mode", "wal"), ("wal_autocheckpoint", 0)):
        assert writer.execute(f"PRAGMA {pragma}").fetchone()[0] == value
    for made in (writer, reader):
        assert made.execute("PRAGMA trusted_schema").fetchone()[0] == 0
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.execute("DELETE FROM job")
    reader.close()
    writer.close()


def _no_thread(*_: object) -> NoReturn:
    raise RuntimeError("can't start new thread")


def test_a_store_for_which_no_thread_can_be_started_is_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading.Thread, "start", _no_thread)
    with pytest.raises(StoreRefused, match=f"cannot open the store {tmp_path}/queuectl.db: can't start new thread"):
        _open(tmp_path / "queuectl.db")


def test_a_store_is_closed_though_no_thread_can_be_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @in_lab
    async def scenario(lab: Lab) -> None:
        kept = await lab.add(id="kept")
        with monkeypatch.context() as patch:
            patch.setattr(asyncio.get_running_loop(), "run_in_executor", _no_thread)
            await lab.store.close()
        lab.open()
        assert (await lab.get(kept.seq)).id == "kept"

    scenario(tmp_path)
