"""The checks find what they are there to find."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from queuectld.store.invariants import check_invariants
from tests.store.lab import Lab

BROKEN = {
    "counts": "UPDATE count SET n = n + 1 WHERE state = 'pending'",
    "processing jobs without": "DELETE FROM worker",
    "workers with two jobs": "UPDATE job SET state = 'processing', lane = NULL, worker = 1 WHERE seq = 2",
    "nothing will ever start": "UPDATE job SET lane = NULL WHERE seq = 2",
    "lane of another queue": "UPDATE lane SET queue = 99",
    "queue that is not there": "UPDATE job SET queue = 99 WHERE seq = 2",
    "batch that is not there": "UPDATE job SET lane = NULL, batch = 99 WHERE seq = 2",
    "without their environment": "DELETE FROM environment",
    "wait for nobody": "DELETE FROM dependency",
    "have ended or are gone": "INSERT INTO dependency VALUES (99, 3, 'any')",
    "do not wait": "INSERT INTO dependency VALUES (2, 4, 'any')",
    "jobs that are gone": "INSERT INTO attempt SELECT 99, 1, 1, 1, 'h', 0, 0, 0, 0, 0, '', 0, 0, 0, 0, 0, '', NULL",
    "have not ended": "INSERT INTO attempt SELECT 1, 1, 1, 1, 'h', 0, 0, 0, 0, 0, '', 0, 0, 0, 0, 0, '', NULL",
    "more often than they ran": "UPDATE job SET attempts = 7 WHERE seq = 2",
    "being ended by a worker": (
        "UPDATE job SET state = 'cancelled', lane = NULL, ending = 99, finished_ms = 1 WHERE seq = 2"
    ),
}


def make(path: Path) -> None:
    """Write a store: job 1 is processing, 2 and 4 wait, 3 waits for 2."""
    async def run() -> None:
        lab = Lab(path)
        lab.open()
        await lab.add()
        await lab.add()
        await lab.add(depends_on=(("2", "any"),))
        await lab.claim()
        await lab.add()
        await lab.store.close()

    asyncio.run(run())


@pytest.mark.parametrize("words", BROKEN)
def test_each_rule_finds_what_breaks_it(words: str, tmp_path: Path) -> None:
    path = tmp_path / "queuectl.db"
    make(path)
    assert check_invariants(path) == []
    connection = sqlite3.connect(path)
    connection.execute(BROKEN[words])
    connection.commit()
    connection.close()
    assert any(words in line for line in check_invariants(path)), check_invariants(path)


@pytest.mark.parametrize(
    "change",
    [
        "state = 'sleeping'",
        "state = 'processing'",
        "worker = 1",
        "state = 'held'",
        "due_ms = 5",
        "batch = 1",
        "state = 'failed', attempts = 0",
        "state = 'completed', lane = NULL",
        "argv = x'90'",
        "runs = 9",
        "priority = 'high'",
    ],
)
def test_the_schema_itself_refuses_what_no_transition_makes(change: str, tmp_path: Path) -> None:
    path = tmp_path / "queuectl.db"
    make(path)
    connection = sqlite3.connect(path)
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute(f"UPDATE job SET {change} WHERE seq = 2")
    connection.close()
