"""Bulk requests: another request waits for one slice of them at most, and the log stays small whatever they change."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from queuectl_client.protocol.permits import JobAction
from queuectl_client.protocol.vocabulary import ErrorCode, JobState
from queuectld.domain.errors import Refused
from queuectld.store import intake
from queuectld.store.writer.thread import CHECKPOINT_BYTES
from queuectld.store.writes import turn
from tests.store.lab import Lab, in_lab, new

MIB = 1024 * 1024


class Gate:
    """A bulk request that stays in the writer thread until it is opened."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self._open = threading.Event()

    def __call__(self, _: Any) -> None:
        self.reached.set()
        assert self._open.wait(30)

    def open(self) -> None:
        self._open.set()


@in_lab
async def test_a_request_waits_for_one_slice_of_a_bulk_and_both_kinds_take_turns(lab: Lab) -> None:
    writer, order = lab.store._writer, list[str]()
    gate = Gate()
    first = writer.submit_bulk(gate, 1)
    bulk = [writer.submit_bulk(lambda _, name=f"bulk {n}": order.append(name), 400) for n in range(3)]
    await asyncio.get_running_loop().run_in_executor(None, gate.reached.wait)
    # The gate and all of the bulk would share a commit if nobody else came.
    short = [writer.submit(lambda _, name=f"short {n}": order.append(name), 1_000) for n in range(2)]
    gate.open()
    await asyncio.gather(first, *bulk, *short)
    assert order == ["short 0", "bulk 0", "short 1", "bulk 1", "bulk 2"]


def _jobs(kind: str, count: int) -> Iterator[Any]:
    for n in range(count):
        if kind == "key":
            yield new(key=f"k{n % 7}")
        elif kind == "parent":
            yield new(id=f"j{n}", depends_on=((f"j{n - 1}", "completed"),) if n else ())
        else:
            yield new()


@pytest.mark.parametrize(("kind", "most"), [("plain", 500), ("key", 167), ("parent", 85)])
def test_while_another_enqueue_waits_a_commit_holds_one_slice_by_its_effort(
    kind: str, most: int, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    @in_lab
    async def scenario(lab: Lab) -> None:
        sizes: list[int] = []
        lab.store.subscribe(lambda commit: sizes.append(sum(n for key, n in commit.counts.items() if key[0])))
        monkeypatch.setattr(lab.store._writer._queue, "others_wait", lambda: True)
        jobs = list(_jobs(kind, 2_000))
        token = await lab.store.intake.open_upload(now=lab.now)
        halves = [lab.store.intake.add_to_upload(token, half, now=lab.now) for half in (jobs[:1_000], jobs[1_000:])]
        added = await asyncio.gather(*halves)
        assert [seq for each in added for seq in each.seqs] == list(range(1, 2_001))
        assert max(sizes) == most
        assert (await lab.store.intake.commit_upload(token, now=lab.now)).count == 2_000

    scenario(tmp_path)


@in_lab
async def test_a_bulk_that_nobody_waits_for_shares_commits(lab: Lab) -> None:
    gate = Gate()
    first = lab.store._writer.submit_bulk(gate, 1)
    adding = [asyncio.ensure_future(lab.store.intake.add_many([new()] * 200, now=lab.now)) for _ in range(3)]
    await asyncio.get_running_loop().run_in_executor(None, gate.reached.wait)
    gate.open()
    await asyncio.gather(first, *adding)
    assert len(lab.commits) == 2


@in_lab
async def test_a_refusal_in_a_later_slice_leaves_nothing_of_the_upload(lab: Lab) -> None:
    await lab.add(id="taken")
    token = await lab.store.intake.open_upload(now=lab.now)
    jobs = [*(new() for _ in range(intake.SLICE + 9)), new(id="taken"), *(new() for _ in range(intake.SLICE))]
    with pytest.raises(Refused) as refused:
        await lab.store.intake.add_to_upload(token, jobs, now=lab.now)
    assert refused.value.data is not None
    assert refused.value.data["index"] == intake.SLICE + 9
    with pytest.raises(Refused) as refused:
        await lab.store.intake.commit_upload(token, now=lab.now)
    assert refused.value.code is ErrorCode.NOT_FOUND
    await lab.store.intake.settle()
    assert (await lab.store.counts()).by_state[JobState.PENDING] == 1


@in_lab
async def test_a_unique_key_twice_in_an_upload_is_skipped_across_slices(lab: Lab) -> None:
    jobs = [new(unique_key=f"k{n % 600}", on_conflict="skip") for n in range(1_200)]
    added = await lab.store.intake.add_many(jobs, now=lab.now)
    assert added.seqs == [*range(1, 601), *range(1, 601)]
    assert added.skipped == list(range(600, 1_200))
    assert (await lab.store.counts()).by_state[JobState.PENDING] == 600


@pytest.mark.parametrize(("waits", "steps"), [(False, turn.SLICE // turn.STEP), (True, 1)])
def test_a_turn_admits_one_step_while_others_wait(waits: bool, steps: int, tmp_path: Any) -> None:
    @in_lab
    async def scenario(lab: Lab) -> None:
        count = turn.SLICE + turn.STEP
        await lab.store.intake.add_many([new(delay_ms=10) for _ in range(count)], now=lab.now)
        token = await lab.store.intake.open_upload(now=lab.now)
        await lab.store.intake.add_to_upload(token, [new(queue="sent") for _ in range(count)], now=lab.now)
        await lab.store.intake.commit_upload(token, now=lab.now)
        lab.store._writer._session.others_wait = lambda: waits
        assert (await lab.turn()).more
        assert (await lab.store.counts()).ready == {"sent": steps * turn.STEP}
        lab.pass_time(10)
        assert (await lab.turn()).more
        assert (await lab.store.counts()).ready["default"] == steps * turn.STEP
        while (await lab.turn()).more:
            pass
        assert (await lab.store.counts()).ready == {"sent": count, "default": count}

    scenario(tmp_path)


@in_lab
async def test_a_turn_that_shares_its_commit_admits_one_step(lab: Lab) -> None:
    token = await lab.store.intake.open_upload(now=lab.now)
    await lab.store.intake.add_to_upload(token, [new(queue="sent")] * turn.SLICE, now=lab.now)
    await lab.store.intake.commit_upload(token, now=lab.now)
    gate = Gate()
    first = lab.store._writer.submit(gate, 1)
    await asyncio.get_running_loop().run_in_executor(None, gate.reached.wait)
    both = asyncio.gather(lab.turn(), lab.add())
    await asyncio.sleep(0)  # both are submitted, and the gate's commit is under way
    gate.open()
    await asyncio.gather(first, both)
    assert (await lab.store.counts()).ready["sent"] == turn.STEP


@pytest.mark.parametrize("waits", [False, True])
def test_the_end_of_a_parent_of_many_is_told_step_by_step_while_others_wait(waits: bool, tmp_path: Any) -> None:
    @in_lab
    async def scenario(lab: Lab) -> None:
        await lab.add(id="parent")
        children = [new(depends_on=(("parent", "completed"),)) for _ in range(200)]
        await lab.store.intake.add_many(children, now=lab.now)
        claimed = await lab.claim()
        lab.store._writer._session.others_wait = lambda: waits
        assert (await lab.turn([lab.end(claimed)])).more is waits
        assert (await lab.store.counts()).by_state[JobState.BLOCKED] == (150 if waits else 0)
        while (await lab.turn()).more:
            pass
        assert (await lab.store.counts()).by_state[JobState.PENDING] == 200

    scenario(tmp_path)


@in_lab
async def test_the_log_is_bounded_whatever_a_bulk_changes(lab: Lab) -> None:
    """All jobs of a slice lie in different pages here, so a changed row costs several pages of the log."""
    count, slice_ = 12_000, 250
    await lab.store.intake.add_many([new("x" * 500) for _ in range(count)], now=lab.now)
    while (await lab.turn()).more:
        pass
    log = lab.path.with_name(lab.path.name + "-wal")
    largest: dict[JobAction, int] = {}
    for action in (JobAction.HOLD, JobAction.RELEASE, JobAction.CANCEL, JobAction.RETRY, JobAction.REMOVE):
        for start in range(1, count // slice_ + 1):
            seqs = list(range(start, count + 1, count // slice_))
            done = await lab.store.apply(action, seqs, now=lab.now, picked=True, brief=True)
            assert len(done.names) == slice_
            largest[action] = max(largest.get(action, 0), log.stat().st_size)
    assert max(largest.values()) < 16 * MIB + CHECKPOINT_BYTES, largest
