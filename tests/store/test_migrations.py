"""Older stores: brought up after a backup, in one transaction, to the schema a fresh one has."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest

from queuectld.store.mapping import files, migrations, schema
from queuectld.store.reads.invariants import check_invariants
from queuectld.store.records import StoreRefused
from tests.compat.make_golden_store import golden_path

SECRET = b"TOKEN-of-nobody" * 400
NEXT = files.SCHEMA_VERSION + 1


def _add_column(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE queue ADD COLUMN colour TEXT")
    connection.execute("UPDATE queue SET colour = 'blue'")


def _half(connection: sqlite3.Connection) -> None:
    _add_column(connection)
    connection.execute("INSERT INTO nowhere VALUES (1)")


def _look(path: Path) -> dict[str, Any]:
    connection = sqlite3.connect(path)
    try:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(queue)")]
        return {
            "version": connection.execute("PRAGMA user_version").fetchone()[0],
            "colour": "colour" in columns,
            "queues": connection.execute("SELECT name FROM queue").fetchall(),
        }
    finally:
        connection.close()


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of the version before the one this queuectl has."""
    path = tmp_path / "queuectl.db"
    schema.prepare(path)
    monkeypatch.setattr(files, "SCHEMA_VERSION", NEXT)
    return path


def test_an_older_store_is_migrated_after_a_backup(old: Path) -> None:
    schema.prepare(old, {files.SCHEMA_VERSION - 1: _add_column}, NEXT)
    assert _look(old) == {"version": NEXT, "colour": True, "queues": [("default",)]}
    assert files.read_version(old) == NEXT, "an older queuectl sees it in the header"
    (backup,) = old.parent.glob("*.backup")
    assert _look(backup) == {"version": NEXT - 1, "colour": False, "queues": [("default",)]}
    assert backup.stat().st_mode & 0o777 == 0o600


def test_a_migration_that_fails_leaves_the_store_as_it_was_and_may_be_tried_again(old: Path) -> None:
    with pytest.raises(StoreRefused, match=rf"cannot migrate the store .*queuectl\.db of version {NEXT - 1}: "):
        schema.prepare(old, {NEXT - 1: _half}, NEXT)
    assert _look(old) == {"version": NEXT - 1, "colour": False, "queues": [("default",)]}
    schema.prepare(old, {NEXT - 1: _add_column}, NEXT)
    assert _look(old)["version"] == NEXT
    assert len(list(old.parent.glob("*.backup"))) == 2


def test_a_version_without_a_step_is_refused(old: Path) -> None:
    with pytest.raises(StoreRefused, match="cannot migrate"):
        schema.prepare(old, {}, NEXT)
    assert _look(old)["version"] == NEXT - 1


def test_every_version_has_a_step() -> None:
    assert set(schema.MIGRATIONS) == set(range(1, files.SCHEMA_VERSION))


def test_version_1_forgets_environments_without_a_job_counts_the_others_and_may_shrink(tmp_path: Path) -> None:
    path = tmp_path / "queuectl.db"
    shutil.copyfile(golden_path(1), path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO environment (digest, body) VALUES (x'01', ?)", (SECRET,))
        jobs = connection.execute("SELECT count(*) FROM job").fetchone()[0]
    schema.prepare(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT id, jobs FROM environment").fetchall() == [(1, jobs)]
        assert connection.execute("PRAGMA auto_vacuum").fetchone()[0] == files.INCREMENTAL
    assert check_invariants(path) == []


REASONS = {
    "exit 3": "exit",
    "exit 127: not found": "exit",
    "signal": "signal",
    "signal 9 (SIGKILL): worker w1 was killed, as it did not answer (cancelled)": "signal",
    "timeout: it ran longer than 2 s": "timeout",
    "stalled: no output for 1 s": "stalled",
    "cannot-start: no folder /gone": "cannot-start",
    "crash-limit: worker w2 died; 4 crashes, 3 are allowed": "crash-limit",
    "interrupted: worker w2 died, and the job may run only once": "interrupted",
    "cancelled": "cancelled",
    "cancelled: replaced by a newer job of the same unique key": "cancelled",
    "cancelled; not permitted to signal pid 7 (sudo)": "cancelled",
    "dependency timeout ended dead, this job was to run only after its success": "dependency",
    "crashed: worker w2 died": "crashed",
}


@pytest.mark.parametrize("version", [1, 2])
def test_version_3_gives_every_reason_its_code(version: int, tmp_path: Path) -> None:
    """Of jobs and of attempts; those of the golden store, and one of each that was ever written."""
    path = tmp_path / "queuectl.db"
    shutil.copyfile(golden_path(version), path)
    with closing(sqlite3.connect(path)) as connection, connection:
        was = _reasons(connection)
        for seq, reason in enumerate((*REASONS, "of no known word", ""), 100):
            for table, others in (("job", ", id = 'of_' || :seq"), ("attempt", "")):
                connection.execute(f"CREATE TEMP TABLE one AS SELECT * FROM {table} WHERE reason = 'exit 1'")
                connection.execute(
                    f"UPDATE one SET seq = :seq, reason = :reason{others}", {"seq": seq, "reason": reason}
                )
                connection.execute(f"INSERT INTO {table} SELECT * FROM one")
                connection.execute("DROP TABLE one")
    schema.prepare(path)
    with closing(sqlite3.connect(path)) as connection:
        now = _reasons(connection)
        assert {key: row[0] for key, row in now.items() if key[1] < 100} == {key: row[0] for key, row in was.items()}
        odd = {"exit: of no known word": "exit", "exit: ": "exit"}
        for table in ("job", "attempt"):
            assert {row[0]: row[1] for key, row in now.items() if key[0] == table and key[1] >= 100} == REASONS | odd
            codes = {row[1] for key, row in now.items() if key[0] == table and key[1] < 100}
            assert codes == {None, "exit", "interrupted", *(["dependency"] if table == "job" else [])}
        with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
            connection.execute("UPDATE attempt SET reason_code = NULL")


def test_version_3_leaves_the_checks_on(tmp_path: Path) -> None:
    path = tmp_path / "queuectl.db"
    shutil.copyfile(golden_path(2), path)
    with closing(sqlite3.connect(path)) as connection:
        migrations.to_version_3(connection)
        assert connection.execute("PRAGMA ignore_check_constraints").fetchone() == (0,)


def _reasons(connection: sqlite3.Connection) -> dict[tuple[str, int], tuple[str | None, ...]]:
    """By table and number: the reason, and its code where there are codes."""
    found = {}
    for table in ("job", "attempt"):
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})") if "reason" in row[1]]
        for seq, *rest in connection.execute(f"SELECT seq, {', '.join(sorted(columns))} FROM {table}"):
            found[table, seq] = tuple(rest)
    return found


def test_without_room_to_be_written_anew_a_store_of_version_1_is_migrated_all_the_same() -> None:
    asked = []

    class Full:
        """A connection to a store whose disk is full."""

        def execute(self, text: str) -> Any:
            asked.append(text)
            if text == "VACUUM":
                error = sqlite3.OperationalError("database or disk is full")
                error.sqlite_errorcode = sqlite3.SQLITE_FULL
                raise error
            return connection.execute(text)

    connection = sqlite3.connect(":memory:")
    files.enable_auto_vacuum(cast(sqlite3.Connection, Full()))
    assert "VACUUM" in asked
    connection.close()
