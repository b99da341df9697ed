"""What each error of SQLite means: locked and short of something pass, a failing disk ends the daemon in words."""

import asyncio
import errno
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from queuectl_client.protocol.vocabulary import ErrorCode
from queuectld.domain.errors import Refused
from queuectld.store.records import StoreFailed
from queuectld.store.writer import sqlite_errors
from tests.store.lab import Lab, in_lab

PATIENCE = 30
PASSING = {
    "SQLITE_BUSY": "locked",
    "SQLITE_BUSY_RECOVERY": "locked",
    "SQLITE_BUSY_SNAPSHOT": "locked",
    "SQLITE_BUSY_TIMEOUT": "locked",
    "SQLITE_LOCKED": "locked",
    "SQLITE_LOCKED_SHAREDCACHE": "locked",
    "SQLITE_PROTOCOL": "locked",
    "SQLITE_IOERR_BLOCKED": "locked",
    "SQLITE_NOMEM": "has no memory left",
    "SQLITE_IOERR_NOMEM": "has no memory left",
    "SQLITE_FULL": "is full",
    "SQLITE_IOERR_SHMSIZE": "is full",
}
ENDING = [
    "SQLITE_IOERR", "SQLITE_IOERR_FSYNC", "SQLITE_IOERR_WRITE", "SQLITE_CORRUPT", "SQLITE_CORRUPT_INDEX",
    "SQLITE_NOTADB", "SQLITE_READONLY", "SQLITE_READONLY_DBMOVED", "SQLITE_PERM", "SQLITE_AUTH", "SQLITE_NOLFS",
    "SQLITE_CANTOPEN",
]  # fmt: skip


def error_of(name: str) -> Exception:
    """As the sqlite3 module raises it."""
    if name == "SQLITE_NOMEM":
        return MemoryError()
    error = sqlite3.OperationalError("injected")
    error.sqlite_errorcode, error.sqlite_errorname = getattr(sqlite3, name), name
    return error


class Failing:
    """A connection of which one statement fails, as often as is said."""

    def __init__(self, connection: sqlite3.Connection, statement: str, error: Exception, times: int = 10) -> None:
        self._connection = connection
        self._statement = statement
        self._error = error
        self.times = times

    def execute(self, text: str, *values: Any) -> sqlite3.Cursor:
        if text == self._statement and self.times:
            self.times -= 1
            raise self._error
        return self._connection.execute(text, *values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def scene(scenario: Callable[[Lab], Any], tmp_path: Path) -> None:
    @in_lab
    async def run(lab: Lab) -> None:
        await lab.add(id="before")
        await asyncio.wait_for(scenario(lab), PATIENCE)

    run(tmp_path)


@pytest.mark.parametrize("statement", ["BEGIN IMMEDIATE", "COMMIT"])
@pytest.mark.parametrize("name", PASSING)
def test_what_passes_is_refused_in_words_and_all_goes_on(tmp_path: Path, name: str, statement: str) -> None:
    async def scenario(lab: Lab) -> None:
        writer = lab.store._writer
        real = writer._connection
        writer._connection = cast(sqlite3.Connection, Failing(real, statement, error_of(name)))
        answers = await asyncio.gather(lab.add(id="a"), lab.add(id="b"), return_exceptions=True)
        writer._connection = real
        for answer in answers:
            assert isinstance(answer, Refused)
            assert answer.code is (ErrorCode.NO_SPACE if PASSING[name] == "is full" else ErrorCode.BUSY)
            assert PASSING[name] in str(answer)
            assert str(lab.path) in str(answer)
        assert (await lab.add(id="a")).seq == 2
        assert lab.broken == []

    scene(scenario, tmp_path)


@pytest.mark.parametrize("name", ENDING)
def test_what_does_not_pass_ends_the_daemon_in_words(tmp_path: Path, name: str) -> None:
    async def scenario(lab: Lab) -> None:
        writer = lab.store._writer
        writer._connection = cast(sqlite3.Connection, Failing(writer._connection, "COMMIT", error_of(name), 1))
        for _ in range(2):
            with pytest.raises(StoreFailed, match=f"{lab.path} cannot be written any more .{name}: injected.; the"):
                await lab.add()
        assert len(lab.broken) == 1

    scene(scenario, tmp_path)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOENT])
def test_a_file_that_cannot_be_opened_is_a_shortage_while_no_descriptor_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def no_open(*_: Any, **__: Any) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(sqlite_errors.os, "open", no_open)
        error = error_of("SQLITE_CANTOPEN")
        meaning = sqlite_errors.meaning_of(error, tmp_path / "queuectl.db")
    said = sqlite_errors.refusal(error, meaning, tmp_path)
    assert (said is None) is (number == errno.ENOENT)
    assert said is None or "no file descriptors left" in str(said)


def test_a_constraint_or_a_fault_of_ours_concerns_one_request_alone(tmp_path: Path) -> None:
    for name in ("SQLITE_CONSTRAINT", "SQLITE_ERROR", "SQLITE_TOOBIG", "SQLITE_MISUSE"):
        assert sqlite_errors.meaning_of(error_of(name), tmp_path) is sqlite_errors.Meaning.REQUEST


@pytest.mark.parametrize("name", PASSING)
def test_a_read_that_fails_for_something_that_passes_is_refused_in_words(tmp_path: Path, name: str) -> None:
    async def scenario(lab: Lab) -> None:
        reader = lab.store._reader
        reader._connection = cast(sqlite3.Connection, Failing(reader._connection, "BEGIN", error_of(name), 1))
        with pytest.raises(Refused, match=f"{PASSING[name]}.*; nothing was read"):
            await lab.get(1)
        assert (await lab.get(1)).id == "before"

    scene(scenario, tmp_path)


@pytest.mark.parametrize("name", ["SQLITE_PROTOCOL", "SQLITE_NOMEM", "SQLITE_IOERR_NOMEM"])
def test_a_checkpoint_that_cannot_be_made_now_is_made_later(tmp_path: Path, name: str) -> None:
    async def scenario(lab: Lab) -> None:
        writer = lab.store._writer
        error = error_of(name)
        writer._connection = cast(
            sqlite3.Connection, Failing(writer._connection, "PRAGMA wal_checkpoint(TRUNCATE)", error, 1)
        )
        assert await writer.empty_log() is False
        assert await writer.empty_log() is True
        assert lab.broken == []

    scene(scenario, tmp_path)
