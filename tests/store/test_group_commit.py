"""The writing thread: what queued up shares a commit, nobody is undone by a neighbour, nobody is told too early."""

import asyncio
import itertools
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from queuectl_client.protocol.vocabulary import ErrorCode, JobState
from queuectld.domain.errors import Refused
from queuectld.store import store
from queuectld.store.mapping import connection
from queuectld.store.records import StoreFailed
from tests.store import verbs
from tests.store.lab import Lab, in_lab, new


@in_lab
async def test_what_queued_up_shares_commits_and_keeps_its_order(lab: Lab) -> None:
    jobs = await asyncio.gather(*(lab.add(f"echo {n}") for n in range(200)))
    assert [job.seq for job in jobs] == list(range(1, 201))
    assert len(lab.commits) < 50
    assert [event.seq for event in lab.events] == list(range(1, 201))
    assert [event.event_seq for event in lab.events] == list(range(1, 201))


@in_lab
async def test_one_that_is_refused_undoes_no_neighbour_and_leaves_no_trace(lab: Lab) -> None:
    await lab.add(id="taken")
    answers = await asyncio.gather(
        lab.add(id="a", queue="first"),
        lab.store.intake.add_many([new(queue="gone", environment={"X": "1"}), new(id="taken")], now=lab.now),
        lab.add(id="b", queue="gone", environment={"X": "1"}),
        lab.store.intake.commit_upload("no such batch", now=lab.now),
        verbs.cancel(lab.store, [2], now=lab.now),
        return_exceptions=True,
    )
    assert isinstance(answers[1], Refused)
    assert isinstance(answers[3], Refused)
    assert not isinstance(answers[0], BaseException)
    assert not isinstance(answers[2], BaseException)
    assert (answers[2].seq, answers[2].queue) == (3, "gone")
    assert [job.id for job in await lab.store.queries.many(range(1, 9))] == ["taken", "a", "b"]
    assert [event.event_seq for event in lab.events] == [1, 2, 3, 4]
    (worker,) = await lab.hire()
    assert await lab.drain(worker) == ["taken", "b"]


@in_lab
async def test_events_are_told_after_the_commit_and_before_the_answer(lab: Lab) -> None:
    order: list[str] = []
    outside = sqlite3.connect(lab.path)

    def told(committed: Any) -> None:
        stored = outside.execute("SELECT count(*) FROM job").fetchone()[0]
        order.append(f"told of {len(committed.events)}, {stored} stored")

    lab.store.subscribe(told)
    await lab.add()
    order.append("answered")
    assert order == ["told of 1, 1 stored", "answered"]
    outside.close()


@in_lab
async def test_who_gives_up_before_it_began_undoes_it_and_breaks_nothing(lab: Lab) -> None:
    lock = sqlite3.connect(lab.path, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    first = asyncio.ensure_future(lab.add(id="first"))
    await asyncio.sleep(0)
    second = asyncio.ensure_future(lab.add(id="second"))
    third = asyncio.ensure_future(lab.add(id="third"))
    await asyncio.sleep(0)
    second.cancel()
    first.cancel()
    lock.execute("ROLLBACK")
    lock.close()
    assert (await third).id == "third"
    assert await verbs.find(lab.store, "second") is None
    assert (await lab.add()).id.startswith("job_")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(connection, "BUSY_MS", 50)
    return


def test_a_stranger_who_locks_the_store_makes_it_busy_and_no_more(tmp_path: Path, impatient: None) -> None:
    @in_lab
    async def scenario(lab: Lab) -> None:
        await lab.add()
        lock = sqlite3.connect(lab.path, isolation_level=None)
        lock.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Refused) as refused:
            await lab.add()
        assert refused.value.code is ErrorCode.BUSY
        assert (await lab.store.counts()).by_state[JobState.PENDING] == 1, "reading goes on"
        lock.execute("ROLLBACK")
        lock.close()
        assert (await lab.add()).seq == 2
        assert lab.broken == []

    scenario(tmp_path)


@in_lab
async def test_on_a_full_disk_what_has_room_is_stored_and_the_rest_is_told(lab: Lab) -> None:
    await lab.add()
    raw = lab.store._writer._connection
    pages = raw.execute("PRAGMA page_count").fetchone()[0]
    raw.execute(f"PRAGMA max_page_count = {pages + 1}").fetchall()
    answers = await asyncio.gather(
        lab.add("small"), lab.add("x" * 200_000), lab.add("small too"), return_exceptions=True
    )  # fmt: skip
    assert isinstance(answers[1], Refused)
    assert answers[1].code is ErrorCode.NO_SPACE
    assert not isinstance(answers[0], BaseException)
    assert not isinstance(answers[2], BaseException)
    assert [answers[0].seq, answers[2].seq] == [2, 3]
    assert [event.seq for event in lab.events] == [1, 2, 3]
    raw.execute("PRAGMA max_page_count = 1000000").fetchall()
    assert (await lab.add("x" * 200_000)).seq == 4
    assert lab.broken == []


class FailingConnection(sqlite3.Connection):
    """A connection whose fsync fails at the next commit, when it is told to."""

    fails = False
    tried = 0

    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        if sql == "COMMIT" and FailingConnection.fails:
            FailingConnection.tried += 1
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
            error.sqlite_errorname = "SQLITE_IOERR_FSYNC"
            raise error
        return super().execute(sql, *arguments)


def test_after_an_io_error_nothing_is_acknowledged_and_nothing_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = sqlite3.connect
    monkeypatch.setattr(
        store, "open_writer", lambda path: _opened_with(real, path, monkeypatch)
    )  # fmt: skip

    @in_lab
    async def scenario(lab: Lab) -> None:
        await lab.add()
        FailingConnection.fails, FailingConnection.tried = True, 0
        answers = await asyncio.gather(lab.add(), lab.add(), return_exceptions=True)
        FailingConnection.fails = False
        assert [type(answer) for answer in answers] == [StoreFailed, StoreFailed]
        assert "I/O" in str(answers[0])
        with pytest.raises(StoreFailed):
            await lab.add()
        assert FailingConnection.tried == 1
        assert len(lab.broken) == 1
        assert len(lab.events) == 1
        assert (await lab.store.counts()).by_state[JobState.PENDING] == 1

    scenario(tmp_path)


def _opened_with(real: Any, path: Path, monkeypatch: pytest.MonkeyPatch) -> sqlite3.Connection:
    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", lambda *a, **k: real(*a, factory=FailingConnection, **k))
        return connection.open_writer(path)


@in_lab
async def test_a_fault_of_ours_in_one_request_reaches_its_caller_alone(lab: Lab) -> None:
    def faulty(session: Any) -> None:
        session.execute("DELETE FROM job")
        raise ZeroDivisionError

    await lab.add()
    answers = await asyncio.gather(lab.add(), lab.store._writer.submit(faulty), lab.add(), return_exceptions=True)
    assert isinstance(answers[1], ZeroDivisionError)
    assert len(await lab.store.queries.many([1, 2, 3])) == 3


def _read_without_end(path: Path, stop: threading.Event) -> None:
    """At any moment somebody has been reading for some milliseconds: one begins before the other ends."""
    readers = [sqlite3.connect(path, isolation_level=None) for _ in range(2)]
    for turn in itertools.count():
        reader, other = readers[turn % 2], readers[1 - turn % 2]
        reader.execute("BEGIN").execute("SELECT count(*) FROM meta").fetchone()
        is_over = stop.wait(0.004)
        if other.in_transaction:
            other.execute("ROLLBACK")
        if is_over:
            break
    for reader in readers:
        reader.close()


@in_lab
async def test_the_log_is_bounded_beside_readers_that_take_turns(lab: Lab) -> None:
    log = lab.path.with_name(lab.path.name + "-wal")
    stop, largest = threading.Event(), 0
    reading = threading.Thread(target=_read_without_end, args=(lab.path, stop))
    reading.start()
    try:
        for _ in range(60):
            await lab.store.intake.add_many([new("x" * 500) for _ in range(1000)], now=lab.now)
            largest = max(largest, log.stat().st_size)
    finally:
        stop.set()
        reading.join()
    assert largest < 45 * 1024 * 1024


@in_lab
async def test_the_log_is_bounded_and_empty_after_the_store_is_closed(lab: Lab) -> None:
    log = lab.path.with_name(lab.path.name + "-wal")
    largest = 0
    for _ in range(40):
        await lab.store.intake.add_many([new("x" * 500) for _ in range(1000)], now=lab.now)
        largest = max(largest, log.stat().st_size)
    assert largest < 20 * 1024 * 1024
    await lab.restart()
    assert not log.exists() or log.stat().st_size < 1024 * 1024
