"""A store that an older queuectl hurt is mended when it is opened; what else can be mended, by `doctor --repair`."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from queuectld.store import repair
from queuectld.store.reads.invariants import check_invariants
from queuectld.store.records import StoreRefused
from tests.store.lab import Lab, new
from tests.store.test_invariants import BROKEN, make

REMOVED_TWO_OF_A_KEY = (
    "DELETE FROM job WHERE seq IN (1, 2)",
    "UPDATE count SET n = 1 WHERE state = 'pending'",
    "UPDATE environment SET jobs = 2",
)
"""What `rm 1-2` of four jobs of one key left behind: 3 and 4 in line, and nobody before them."""
AS_OLD = "DELETE FROM meta WHERE key = 'mended'"


def _in(path: Path, scenario: Callable[[Lab], Awaitable[None]]) -> None:
    async def run() -> None:
        lab = Lab(path)
        lab.open()
        try:
            await scenario(lab)
        finally:
            await lab.store.close()

    asyncio.run(run())


def _do(path: Path, *lines: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    for line in lines:
        connection.execute(line)
    connection.close()


async def _four_of_a_key(lab: Lab) -> None:
    await lab.store.intake.add_many([new(key="k") for _ in range(4)], now=lab.now)


async def _two_are_left_and_run(lab: Lab) -> None:
    (worker,) = await lab.hire()
    assert await lab.drain(worker) == ["job_3", "job_4"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with four jobs of one key, of which two were removed by an older queuectl."""
    path = tmp_path / "queuectl.db"
    _in(path, _four_of_a_key)
    _do(path, *REMOVED_TWO_OF_A_KEY)
    return path


def test_it_is_mended_when_it_is_opened_for_the_first_time(path: Path) -> None:
    _do(path, AS_OLD)
    assert [line.partition(":")[0] for line in check_invariants(path)] == [
        "counts that differ from the jobs", "jobs in line for a key that nobody holds"
    ]  # fmt: skip
    _in(path, _two_are_left_and_run)
    assert check_invariants(path) == []


def test_it_is_not_looked_for_at_every_start(path: Path) -> None:
    async def nothing(_: Lab) -> None: ...

    _in(path, nothing)
    assert len(check_invariants(path)) == 2


def test_a_start_that_cannot_write_leaves_it_to_the_next(path: Path) -> None:
    _do(path, AS_OLD)
    stranger = sqlite3.connect(path, isolation_level=None)
    stranger.execute("BEGIN IMMEDIATE")
    connection = sqlite3.connect(path, isolation_level=None, timeout=0)
    repair.repair_once(connection)
    assert len(check_invariants(path)) == 2
    stranger.close()
    repair.repair_once(connection)
    connection.close()
    assert check_invariants(path) == []


def test_it_is_mended_when_that_is_asked_for_and_kept_as_it_was(path: Path) -> None:
    assert all(map(repair.can_repair, check_invariants(path)))
    mended, backup = repair.repair(path)
    assert mended == {"counts that differ from the jobs": 2, "jobs in line for a key that nobody holds": 2}
    assert check_invariants(path) == []
    assert backup is not None
    assert len(check_invariants(backup)) == 2
    assert repair.repair(path) == ({}, None)  # and no other copy
    _in(path, _two_are_left_and_run)
    assert check_invariants(path) == []


@pytest.mark.parametrize("words", [words for words in BROKEN if words not in (
    # Nobody can know what these were to be.
    "processing jobs without", "workers with two jobs", "queue that is not there", "without their environment",
    "have not ended", "more often than they ran", "being ended by a worker",
)])  # fmt: skip
def test_what_can_be_mended_is_and_every_job_runs(words: str, tmp_path: Path) -> None:
    path = tmp_path / "queuectl.db"
    make(path)
    _do(path, BROKEN[words])
    assert all(map(repair.can_repair, check_invariants(path))), check_invariants(path)
    repair.repair(path)

    async def all_runs(lab: Lab) -> None:
        (worker,) = await lab.hire()
        lab.store_ms += 1000
        assert await lab.drain(worker) == ["job_2", "job_3", "job_4"] or words == "wait for nobody"

    _in(path, all_runs)
    assert check_invariants(path) == []


def test_a_file_that_is_damaged_is_left_to_other_means(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096 * 3 : 4096 * 3 + 200] = b"\xff" * 200
    path.write_bytes(content)
    with pytest.raises(StoreRefused, match="damaged"):
        repair.repair(path)
    assert path.read_bytes() == bytes(content)
    with pytest.raises(StoreRefused, match="no such store"):
        repair.repair(path.with_name("other.db"))
