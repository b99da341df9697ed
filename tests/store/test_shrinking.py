"""What was removed is out of the file and its log soon after, and the file is as small as what is left."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from queuectld.store.records import ListQuery
from queuectld.store.writer.session import Session
from queuectld.store.writes import housekeeping
from tests.store import verbs
from tests.store.lab import Lab, in_lab, new

MANY = 2_000
SECRET = "hunter2-of-a-job-that-is-gone"
KEPT = "of-a-job-that-stays"


def _stays(number: int) -> bool:
    return number % 100 == 50


def _token(number: int) -> str:
    return f"{SECRET}-{number};"


async def _fill(lab: Lab) -> list[int]:
    """Jobs with an environment each, some of them to stay, among the others."""
    jobs = [
        new(f"echo {KEPT if _stays(number) else SECRET} {'x' * 200}", environment={"TOKEN": _token(number) * 9})
        for number in range(MANY)
    ]
    added = await lab.store.intake.add_many(jobs, now=lab.now)
    return [seq for number, seq in enumerate(added.seqs) if not _stays(number)]


async def _remove(lab: Lab, seqs: list[int]) -> None:
    for start in range(0, len(seqs), 500):
        await verbs.remove(lab.store, seqs[start : start + 500], now=lab.now)


def _bytes(path: Path) -> bytes:
    log = path.with_name(path.name + "-wal")
    return path.read_bytes() + (log.read_bytes() if log.exists() else b"")


@contextmanager
def _somebody_reads(path: Path) -> Iterator[None]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM job").fetchone()
        yield


@in_lab
async def test_what_was_removed_can_be_read_in_no_file_and_takes_no_room(lab: Lab) -> None:
    gone = await _fill(lab)
    await lab.store.upkeep.give_back()
    full = lab.path.stat().st_size
    await _remove(lab, gone)
    assert SECRET.encode() in _bytes(lab.path)
    assert await lab.store.upkeep.give_back()
    left = _bytes(lab.path)
    assert [number for number in range(MANY) if (_token(number).encode() in left) != _stays(number)] == []
    assert f"echo {SECRET}".encode() not in left
    assert left.count(f"echo {KEPT}".encode()) >= MANY / 100
    assert lab.path.stat().st_size < full / 5


@in_lab
async def test_others_come_before_it_and_between_its_slices(lab: Lab) -> None:
    order: list[str] = []

    def note(word: str) -> None:
        order.append(word)

    def slice_(_: Session) -> bool:
        note("slice")
        return True

    def other(_: Session) -> None:
        note("other")

    first = lab.store._writer.when_idle(slice_)
    second = lab.store._writer.when_idle(slice_)
    others = [lab.store._writer.submit(other) for _ in range(3)]
    await asyncio.gather(first, second, *others)
    assert sorted(order[-2:]) == ["slice", "slice"] or order[0] == "slice"
    assert order.count("other") == 3
    assert order.index("other") < len(order) - 1 - order[::-1].index("slice")


@in_lab
async def test_a_slice_gives_back_a_part_and_says_that_there_is_more(lab: Lab) -> None:
    gone = await _fill(lab)
    await _remove(lab, gone)
    slices = 1
    while await lab.store._writer.submit(housekeeping.give_back):
        slices += 1
    with closing(sqlite3.connect(lab.path)) as connection:
        assert connection.execute("PRAGMA freelist_count").fetchone()[0] == 0
    assert not await lab.store._writer.submit(housekeeping.give_back)


@in_lab
async def test_who_reads_is_not_waited_for_and_it_is_to_be_tried_again(lab: Lab) -> None:
    await _remove(lab, await _fill(lab))
    with _somebody_reads(lab.path):
        assert not await lab.store.upkeep.give_back()
    assert await lab.store.upkeep.give_back()
    assert SECRET.encode() + b" " not in _bytes(lab.path)


@in_lab
async def test_a_file_that_cannot_shrink_is_left_as_it_is(lab: Lab) -> None:
    await _remove(lab, await _fill(lab))
    await lab.store.close()
    with closing(sqlite3.connect(lab.path)) as connection:
        connection.execute("PRAGMA auto_vacuum = NONE")
        connection.execute("VACUUM")
    lab.open()
    await _remove(lab, await _fill(lab))
    assert await lab.store.upkeep.give_back()
    assert (await lab.store.counts()).by_state


@in_lab
async def test_memory_is_freed_between_requests(lab: Lab) -> None:
    await lab.store.intake.add_many([new("x" * 2_000) for _ in range(3_000)], now=lab.now)
    await lab.store.queries.page(ListQuery(limit=1_000))
    adding = [lab.add() for _ in range(3)]
    await asyncio.gather(lab.store.upkeep.free_memory(), *adding)
    assert (await lab.add()).seq == 3_004
    assert len((await lab.store.queries.page(ListQuery(limit=10))).jobs) == 10
