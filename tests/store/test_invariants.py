"""The checks find what they are there to find."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from queuectld.store.reads.invariants import RULES, SHOWN, check_invariants, findings
from tests.store.lab import Lab, new

ATTEMPT = "seq, run, attempt, host, started_ms, finished_ms, duration_ms, crashed"
BROKEN = {
    "counts": "UPDATE count SET n = n + 1 WHERE state = 'pending'",
    "processing jobs without": "DELETE FROM worker",
    "workers with two jobs": "UPDATE job SET state = 'processing', lane = NULL, worker = 1 WHERE seq = 2",
    "nothing will ever start": "UPDATE job SET lane = NULL WHERE seq = 2",
    "lane of another queue": "UPDATE lane SET queue = 99",
    "queue that is not there": "UPDATE job SET queue = 99 WHERE seq = 2",
    "batch that is not there": "UPDATE job SET lane = NULL, batch = 99 WHERE seq = 2",
    "without their environment": "DELETE FROM environment",
    "count other jobs than there are": "UPDATE environment SET jobs = jobs + 1",
    "wait for nobody": "DELETE FROM dependency",
    "have ended or are gone": "INSERT INTO dependency VALUES (99, 3, 'any')",
    "do not wait": "INSERT INTO dependency VALUES (2, 4, 'any')",
    "jobs that are gone": f"INSERT INTO attempt ({ATTEMPT}) VALUES (99, 1, 1, 'h', 0, 0, 0, 0)",
    "have not ended": f"INSERT INTO attempt ({ATTEMPT}) VALUES (1, 1, 1, 'h', 0, 0, 0, 0)",
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


def _steps(path: Path, jobs: int, *, keys: int = 1, **fields: Any) -> int:
    """Steps of SQLite's machine, in hundreds, for a look at so many jobs of so many keys."""

    async def run() -> None:
        lab = Lab(path)
        lab.open()
        await lab.store.intake.add_many([new(key=f"k{place % keys}", **fields) for place in range(jobs)], now=lab.now)
        while (await lab.turn()).more:
            """Let all of them in that may start."""
        await lab.store.close()

    asyncio.run(run())
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1

    with closing(sqlite3.connect(path)) as connection:
        connection.set_progress_handler(step, 100)
        assert findings(connection) == []
    return steps


@pytest.mark.parametrize("fields", [{"batch": "b"}, {"key_limit": 99}], ids=["line", "let in"])
def test_a_look_at_ten_times_the_jobs_of_one_key_takes_ten_times_as_long(
    fields: dict[str, Any], tmp_path: Path
) -> None:
    few, many = (_steps(tmp_path / str(jobs) / "queuectl.db", jobs, **fields) for jobs in (300, 3_000))
    assert many < 15 * few


def test_a_look_at_jobs_of_ten_times_the_keys_takes_ten_times_as_long(tmp_path: Path) -> None:
    few, many = (_steps(tmp_path / str(keys) / "queuectl.db", 2 * keys, keys=keys) for keys in (200, 2_000))
    assert many < 15 * few


def test_it_tells_what_it_looks_for_one_step_after_the_other(tmp_path: Path) -> None:
    path = tmp_path / "queuectl.db"
    make(path)
    told: list[tuple[str, int, int]] = []
    check_invariants(path, lambda *step: told.append(step))
    assert [step for _, step, _ in told] == list(range(1, len(RULES) + 2))
    assert {steps for _, _, steps in told} == {len(RULES) + 1}


def test_a_job_that_goes_before_one_of_its_key_that_was_let_in_is_found(tmp_path: Path) -> None:
    path = tmp_path / "queuectl.db"

    async def run() -> None:
        lab = Lab(path)
        lab.open()
        for _ in range(3):
            await lab.add(key="k")
        await lab.store.close()

    asyncio.run(run())
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE job SET priority = 5 WHERE seq = 3")
    assert check_invariants(path) == ["jobs that go before one of their key that was let in: [[3, 1]]"]


def test_a_job_in_line_for_a_key_that_nobody_holds_is_found(tmp_path: Path) -> None:
    path = tmp_path / "queuectl.db"

    async def run() -> None:
        lab = Lab(path)
        lab.open()
        await lab.add(key="k")
        await lab.add(key="k", id="in-line")
        await lab.store.close()

    asyncio.run(run())
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE job SET lane = NULL, due_ms = 9 WHERE seq = 1")
    assert any("that nobody holds: [[2," in line for line in check_invariants(path))


@pytest.mark.parametrize("broken, more", [(SHOWN, False), (SHOWN + 1, True)])
def test_of_many_that_break_a_rule_the_first_are_shown(broken: int, more: bool, tmp_path: Path) -> None:
    path = tmp_path / "queuectl.db"
    make(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.executemany("INSERT INTO dependency VALUES (?, 3, 'any')", [(100 + each,) for each in range(broken)])
        connection.commit()
    (line,) = [each for each in check_invariants(path) if "have ended or are gone" in each]
    assert (line.count("["), line.endswith(" and more")) == (SHOWN + 1, more)
