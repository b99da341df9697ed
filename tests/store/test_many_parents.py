"""A job that waits for very many others: others write meanwhile, and it is there as a whole or not at all."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from queuectl_client.protocol.vocabulary import ErrorCode, JobState
from queuectld.domain.errors import Refused
from queuectld.store.reads.invariants import check_invariants
from queuectld.store.records import ListQuery
from queuectld.store.writes import many_parents
from tests.store import verbs
from tests.store.lab import Lab, in_lab, new
from tests.store.test_selected_parents import seen

SLICE = 10
PARENTS = 35
A, B = "label:g=a", "label:g=b"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices of ten."""
    monkeypatch.setattr(many_parents, "AT_ONCE", SLICE)


async def _parents(lab: Lab) -> None:
    for group in "ab":
        await lab.store.intake.add_many([new(labels={"g": group}) for _ in range(PARENTS)], now=lab.now)


async def _child(lab: Lab, **keys: Any) -> Any:
    """A job that waits for both groups."""
    depends_on = ((A, "completed"), (B, "any"))
    child = new(depends_on=depends_on, resolved=await seen(lab, A, B), **{"id": "child", **keys})
    return await verbs.add(lab.store, child, now=lab.now, request="r")


@contextmanager
def _before_each_write(lab: Lab, act: Callable[[int], Awaitable[None]]) -> Iterator[None]:
    """Have `act` done before each step of what is done here; it is given the number of the step."""
    write: Any = lab.store._writer.submit
    steps = 0

    def stepping(*arguments: Any, **how: Any) -> Any:
        nonlocal steps
        steps += 1
        number = steps

        async def step() -> Any:
            lab.store._writer.submit = write  # type: ignore[method-assign]
            await act(number)
            lab.store._writer.submit = stepping  # type: ignore[method-assign]
            return await write(*arguments, **how)

        return step()

    lab.store._writer.submit = stepping  # type: ignore[method-assign]
    try:
        yield
    finally:
        lab.store._writer.submit = write  # type: ignore[method-assign]


@in_lab
async def test_it_waits_for_all_of_them_in_many_commits_and_nobody_sees_it_before(lab: Lab) -> None:
    await _parents(lab)
    steps = 0

    async def look(step: int) -> None:
        nonlocal steps
        steps = step
        assert await verbs.find(lab.store, "child") is None
        assert len((await lab.store.queries.page(ListQuery(limit=1000))).jobs) == 2 * PARENTS
        assert check_invariants(lab.path) == []

    with _before_each_write(lab, look):
        child = await _child(lab)
    assert steps > 2 * PARENTS / SLICE
    assert [parent for parent, _ in child.depends_on] == [f"job_{seq}" for seq in range(1, 2 * PARENTS + 1)]
    assert {on for _, on in child.depends_on[:PARENTS]} == {"completed"}
    assert child.state is JobState.BLOCKED
    assert lab.kinds()[-1] == "job.blocked"
    (worker,) = await lab.hire()
    assert (await lab.drain(worker))[-1] == "child"


@in_lab
async def test_parents_that_end_meanwhile_are_neither_missed_nor_enough(lab: Lab) -> None:
    await _parents(lab)
    (worker,) = await lab.hire()

    async def end_one(_step: int) -> None:
        await lab.turn([lab.end(await lab.claim(worker))])

    with _before_each_write(lab, end_one):
        child = await _child(lab)
    assert child.state is JobState.BLOCKED
    assert (await lab.drain(worker))[-1] == "child"


@in_lab
async def test_all_parents_may_have_ended_before_it_is_there(lab: Lab) -> None:
    await _parents(lab)
    (worker,) = await lab.hire()
    ended: list[str] = []

    async def end_all(step: int) -> None:
        if step > 4:
            ended.extend(await lab.drain(worker))

    with _before_each_write(lab, end_all):
        await _child(lab)
    assert len(ended) == 2 * PARENTS
    assert await lab.drain(worker) == ["child"]


@pytest.mark.parametrize("when", [2, 3, 5, 8, 12])
def test_one_that_fails_meanwhile_cancels_it(tmp_path: Any, when: int) -> None:
    async def scenario(lab: Lab) -> None:
        await _parents(lab)

        async def cancel_one(step: int) -> None:
            if step == when:
                await verbs.cancel(lab.store, [15], now=lab.now)

        with _before_each_write(lab, cancel_one):
            child = await _child(lab)
        assert child.state is JobState.CANCELLED
        assert child.reason == "dependency job_15 ended cancelled, this job was to run only after its success"
        assert lab.kinds()[-1] == "job.cancelled"

    in_lab(scenario)(tmp_path)


@in_lab
async def test_a_daemon_that_dies_in_between_leaves_nothing_of_it(lab: Lab) -> None:
    await _parents(lab)

    class Died(BaseException):
        pass

    async def die(step: int) -> None:
        if step == 6:
            raise Died

    discarded: list[Any] = []
    lab.store.intake._in_background = lambda work: (discarded.append(work), work.close())  # type: ignore[method-assign]
    with pytest.raises(Died), _before_each_write(lab, die):
        await _child(lab)
    assert discarded
    await lab.restart()
    await lab.store.intake.discard_open_uploads()
    assert await verbs.find(lab.store, "child") is None
    assert check_invariants(lab.path) == []
    assert (await _child(lab)).state is JobState.BLOCKED, "its id is free again"
    (worker,) = await lab.hire()
    assert len(await lab.drain(worker)) == 2 * PARENTS + 1


@in_lab
async def test_a_repeat_of_the_request_gives_the_same_job_also_while_the_first_is_on_its_way(lab: Lab) -> None:
    await _parents(lab)
    first = await _child(lab, id=None)
    assert (await _child(lab, id=None)).seq == first.seq

    async def first_again(step: int) -> None:
        if step == 9:
            again.append(await verbs.add(lab.store, new(id="other"), now=lab.now, request="q"))

    again: list[Any] = []
    depends_on = ((A, "any"), (B, "any"))
    late = new(depends_on=depends_on, resolved=await seen(lab, A, B))
    with _before_each_write(lab, first_again):
        assert (await verbs.add(lab.store, late, now=lab.now, request="q")).id == "other"
    for task in list(lab.store.intake._clearing):
        await task
    assert len((await lab.store.queries.page(ListQuery(limit=1000))).jobs) == 2 * PARENTS + 2


@in_lab
async def test_refusals_are_those_for_a_job_with_few_parents(lab: Lab) -> None:
    await _parents(lab)
    look = await seen(lab, A)
    with pytest.raises(Refused, match=r"^depends_on: no such job: 'nobody'$") as refused:
        await lab.add(depends_on=((A, "any"), ("nobody", "any")), resolved=look)
    assert (refused.value.code, refused.value.data) == (ErrorCode.NOT_FOUND, {"id": "nobody"})
    with pytest.raises(Refused, match=r"^the id 'job_7' is taken") as refused:
        await lab.add(id="job_7", depends_on=((A, "any"),), resolved=look)
    assert refused.value.code is ErrorCode.CONFLICT
    await verbs.remove(lab.store, list(range(1, PARENTS + 1)), now=lab.now)
    with pytest.raises(Refused, match=r"^depends_on: no job matches"):
        await lab.add(depends_on=((A, "any"),), resolved=look)
    for task in list(lab.store.intake._clearing):
        await task
