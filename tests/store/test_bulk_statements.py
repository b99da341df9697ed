"""Changing many jobs takes few statements; only jobs with dependents, keys or batches are changed one by one."""

import random
from collections.abc import Sequence
from typing import Any

import pytest

from queuectl_client.protocol.permits import JobAction
from queuectl_client.protocol.vocabulary import JobState
from queuectld.store.reads.invariants import check_invariants
from queuectld.store.records import ActionResult
from queuectld.store.writes import transitions
from tests.bench.effort import Meter
from tests.store import verbs
from tests.store.lab import Lab, in_lab, new

MANY = 400
AN_EVENT = 1.1
"""Statements for each job: its event, and hardly anything beside."""


async def _filled(lab: Lab) -> list[int]:
    return list((await lab.store.intake.add_many([new() for _ in range(MANY)], now=lab.now)).seqs)


@in_lab
async def test_of_jobs_that_are_alike_nothing_but_the_events_takes_a_statement_each(lab: Lab) -> None:
    seqs = await _filled(lab)
    meter = Meter(lab.store)

    async def act() -> None:
        for verb in (
            JobAction.HOLD,
            JobAction.RELEASE,
            JobAction.CANCEL,
            JobAction.RETRY,
            JobAction.HOLD,
            JobAction.CANCEL,
            JobAction.RETRY,
            JobAction.REMOVE,
        ):
            done = await lab.store.apply(verb, seqs, now=lab.now)
            assert [job.seq for job in done.jobs] == seqs
            assert [name.seq for name in done.names] == seqs

    effort = await meter.of(8 * MANY, act)
    assert effort.statements < AN_EVENT
    assert effort.commits == 1 / MANY


@in_lab
async def test_old_ones_go_without_a_statement_each(lab: Lab) -> None:
    seqs = await _filled(lab)
    await verbs.cancel(lab.store, seqs, now=lab.now)
    meter = Meter(lab.store)

    async def prune() -> None:
        pruned = await verbs.prune(lab.store, seqs, {JobState.CANCELLED: lab.wall_ms}, now=lab.now)
        assert pruned.count == MANY

    assert (await meter.of(MANY, prune)).statements < 0.1


@in_lab
async def test_where_nobody_wants_more_than_names_no_job_is_read(lab: Lab) -> None:
    seqs = await _filled(lab)
    for verb in (JobAction.HOLD, JobAction.CANCEL, JobAction.RETRY, JobAction.REMOVE):
        looked = await lab.store.preview(verb, seqs, brief=True)
        done = await lab.store.apply(verb, seqs, now=lab.now, brief=True)
        assert looked.names == done.names == [(f"job_{seq}", seq) for seq in seqs]
        assert looked.jobs == done.jobs == []


KINDS: tuple[dict[str, Any], ...] = (
    {}, {}, {"queue": "other"}, {"key": "k"}, {"key": "k", "key_limit": 2}, {"batch": "b"}, {"unique_key": None},
    {"delay_ms": 5_000}, {"hold": True}, {"depends_on": True}, {"priority": 3}, {"needs": {"gpu": 1}},
)  # fmt: skip
VERBS = (JobAction.HOLD, JobAction.RELEASE, JobAction.CANCEL, JobAction.RETRY, JobAction.HOLD, JobAction.REMOVE)


async def _mixed(lab: Lab, dice: random.Random) -> list[int]:
    """Jobs of all kinds, each of which may wait for one before it; in one order of many."""
    seqs: list[int] = []
    for number in range(60):
        fields = dict(dice.choice(KINDS))
        if "unique_key" in fields:
            fields["unique_key"] = f"u{number}"
        if "depends_on" in fields:
            chosen = [(f"job_{dice.choice(seqs)}", dice.choice(("any", "completed", "dead")))] if seqs else []
            fields["depends_on"] = tuple(chosen)
        seqs.append((await lab.add(**fields)).seq)
    dice.shuffle(seqs)
    return seqs


async def _life(lab: Lab, seed: int) -> list[Any]:
    """What becomes of some jobs of a mixed crowd, verb after verb, and all that is told of it."""
    dice = random.Random(seed)
    seqs = await _mixed(lab, dice)
    told: list[Any] = []
    for verb in VERBS:
        done: ActionResult = await lab.store.apply(verb, dice.sample(seqs, 45), now=lab.now, picked=True)
        while (await lab.turn()).more:
            pass
        assert check_invariants(lab.path) == []
        there: Sequence[Any] = [await lab.store.queries.get(seq) for seq in sorted(seqs)]
        told += [[job.seq for job in done.jobs], [str(left) for left in done.refused], there, lab.store.due]
    return [told, [event[2:] for event in lab.events]]


@pytest.mark.parametrize("seed", range(8))
def test_jobs_that_go_together_end_up_as_if_each_went_by_itself(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    lives: list[Any] = []

    def live(folder: str) -> None:
        async def scenario(lab: Lab) -> None:
            lives.append(await _life(lab, seed))

        in_lab(scenario)(tmp_path / folder)

    live("together")
    with monkeypatch.context() as patch:
        patch.setattr("queuectld.store.writes.bulk_transitions._is_plain", lambda _: False)
        patch.setattr("queuectld.store.writes.removal._is_plain", lambda _: False)
        live("alone")
    assert lives[0] == lives[1]


@in_lab
async def test_one_that_stands_elsewhere_than_it_was_read_stops_all_of_it(lab: Lab) -> None:
    await lab.store.intake.add_many([new() for _ in range(4)], now=lab.now)
    read = transitions.snapshots
    lying = pytest.MonkeyPatch()
    lying.setattr(
        "queuectld.store.writes.changes.snapshots",
        lambda session, seqs: {
            seq: each._replace(lane=None) if seq == 3 else each for seq, each in read(session, seqs).items()
        },
    )
    with pytest.raises(RuntimeError, match="job 3 has changed since it was read"), lying.context():
        await lab.store.apply(JobAction.CANCEL, [1, 2, 3, 4], now=lab.now)
    lying.undo()
    assert [(await lab.get(seq)).state for seq in range(1, 5)] == [JobState.PENDING] * 4


@in_lab
async def test_of_jobs_with_and_without_a_key_a_child_or_a_batch_each_goes_as_it_would_alone(lab: Lab) -> None:
    for fields in ({"id": "plain"}, {"key": "k"}, {"id": "parent"}, {"key": "k"}, {"batch": "b"}, {"key": "k"}):
        await lab.add(**fields)
    child = await lab.add(depends_on=(("parent", "completed"),))
    after = await lab.add(depends_on=(("batch:b", "any"),))
    removed = await verbs.remove(lab.store, [5, 4, 3, 2, 1], now=lab.now)
    assert [job.seq for job in removed.jobs] == [5, 4, 3, 2, 1]
    assert (await lab.get(child.seq)).state is JobState.CANCELLED
    assert (await lab.get(after.seq)).state is JobState.PENDING
    assert (await lab.get(6)).ready
