"""Stores of every released version are still read, each job with all it had."""

import asyncio
import shutil
import sqlite3
from pathlib import Path

import pytest

from queuectl_client.protocol.vocabulary import JobState
from queuectld.domain.job import Output
from queuectld.domain.retry import RetryPolicy
from queuectld.store.mapping import files, schema
from queuectld.store.records import TimeAnchor
from tests.compat.make_golden_store import golden_path
from tests.store.lab import ENVIRONMENT, Lab, in_lab

VERSIONS = range(1, files.SCHEMA_VERSION + 1)
STATES = {
    "completed": "completed", "dead": "dead", "failed": "failed", "crashed": "dead", "processing": "processing",
    "held": "held", "blocked": "blocked", "cancelled": "cancelled", "later": "pending", "at": "pending",
    "slow": "pending", "pending": "pending", "job_13": "pending",
}  # fmt: skip


def _copied(version: int, folder: Path) -> Path:
    path = folder / "home" / "queuectl.db"
    path.parent.mkdir(mode=0o700)
    shutil.copyfile(golden_path(version), path)
    return path


@pytest.mark.parametrize("version", VERSIONS)
def test_every_job_of_a_golden_store_is_as_it_was(version: int, tmp_path: Path) -> None:
    _copied(version, tmp_path)
    in_lab(_is_as_it_was)(tmp_path)


async def _is_as_it_was(lab: Lab) -> None:
    jobs = {job.id: job for job in await lab.store.queries.many(range(1, 99))}
    assert {name: str(job.state) for name, job in jobs.items()} == STATES
    completed = jobs["completed"]
    options = completed.options
    assert (options.name, options.labels, options.env) == ("nightly", {"team": "ä"}, {"TOKEN": "x\udcff"})
    (attempt,) = await lab.store.queries.attempts(completed.seq)
    assert (attempt.left_behind, attempt.user_us, attempt.host) == ("sleep (pid 9)", 1, "here")
    assert attempt.output == {
        "both": Output(5, b"done\n"), "stderr": Output(9, None, (("000/1.1.stderr.log", 0, 9),)),
    }  # fmt: skip
    dead, processing = jobs["dead"], jobs["processing"]
    assert dead.options.retry == RetryPolicy(1, 2, 2, 0.5, (1, "SIGTERM"), (3,))
    assert (dead.command, dead.options.cwd, dead.reason) == (("false",), "/tmp/\udcfe", "exit 1")
    assert (jobs["failed"].attempts, jobs["failed"].due_ms) == (1, 7000)
    assert (processing.options.stdin, processing.options.stall_timeout_ms, processing.run) == ("in", 6, 1)
    assert jobs["blocked"].depends_on == (("held", "completed"),)
    assert lab.store.time_anchor() == TimeAnchor("3ad1c5b2", 1000, 1_700_000_000_000, 5000)
    assert lab.store.config() == {"max_retries": 5}
    counts = await lab.store.counts()
    assert counts.paused == ["slow"]
    assert counts.by_state[JobState.PENDING] == 5
    assert (await lab.store.events_since(0, 1))[0].event_seq == 1


@pytest.mark.parametrize("version", VERSIONS)
def test_a_golden_store_goes_on(version: int, tmp_path: Path) -> None:
    _copied(version, tmp_path)

    @in_lab
    async def scenario(lab: Lab) -> None:
        (busy,) = await lab.store.queries.processing()
        lab.pass_time(60_000)
        assert busy.id == "processing"
        (worker,) = await lab.hire()
        assert await lab.drain(worker) == ["failed", "later", "at", "pending", "job_13"]
        assert await lab.store.queries.environment(1) == ENVIRONMENT
        assert (await lab.add()).seq == 14

    scenario(tmp_path)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_migrated_store_has_the_schema_of_a_fresh_one(version: int, tmp_path: Path) -> None:
    path = _copied(version, tmp_path)
    schema.prepare(path)
    fresh = tmp_path / "fresh.db"
    schema.prepare(fresh)
    assert _schema(path) == _schema(fresh)


def _schema(path: Path) -> dict[str, str]:
    connection = sqlite3.connect(path)
    try:
        return schema.definitions(connection)
    finally:
        connection.close()


def test_each_version_has_its_golden_store() -> None:
    assert [golden_path(version).exists() for version in VERSIONS] == [True] * files.SCHEMA_VERSION


def test_the_generator_still_runs(tmp_path: Path) -> None:
    from tests.compat.make_golden_store import make

    asyncio.run(make(tmp_path / "store.db"))
