"""One text names the same jobs, or is refused in the same words, whatever is done to them."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import pytest

from queuectl_client.protocol.permits import JobAction
from queuectl_client.protocol.vocabulary import ErrorCode
from queuectld.domain.errors import Refused
from queuectld.scheduler.bus import Bus
from queuectld.scheduler.jobs import selection, waiting
from queuectld.scheduler.jobs.bulk import BulkCursor, BulkExecutor
from queuectld.scheduler.jobs.dependency_selectors import first_look
from queuectld.store.records import ActionResult
from tests.store import verbs
from tests.store.lab import Lab, in_lab, new

JOBS = [
    {"id": "7", "name": "x1", "labels": {"user": "ada"}, "batch": "b"},
    {"name": "x2", "labels": {"user": "a=b", "Any": "any"}, "hold": True},
    {"queue": "q", "name": "Failed", "batch": "b"},
    {"id": "2-3", "delay_ms": 1000},
    {"id": "1-2-3", "hold": True},
]
NAMED: dict[str, list[int]] = {
    "all": [1, 2, 3, 4, 5],
    "last": [5],
    "7": [1],
    "5": [5],
    "05": [5],
    "job_3": [3],
    "2-3": [4],
    "1-2-3": [5],
    "2-2": [2],
    "002-003": [2, 3],
    "3-99": [3, 4, 5],
    "0-1": [1],
    "@held": [2, 5],
    "@Held": [2, 5],
    "@HELD": [2, 5],
    "@pending": [1, 3, 4],
    "label:user=ada": [1],
    "label:user=a=b": [2],
    "label:Any=any": [2],
    "name:x*": [1, 2],
    "name:x[2-3]": [2],
    "name:Failed": [3],
    "batch:b": [1, 3],
}
NOBODY = ("@failed", "@Dead", "label:user=bob", "label:any=any", "name:y*", "name:failed", "40-50", "3-2")
NO_JOB = ("99", "nobody", "job_999", "Last", "ALL", "held", "9" * 40, "\u0663", "-3", "3-", "LABEL:user=ada", "x:y")
NONSENSE = {
    "@hled": "unknown state '@hled'; did you mean @held?",
    "@": "unknown state '@'; expected one of @pending,",
    "@@held": "unknown state",
    "label:user": "invalid selector 'label:user'; expected label:KEY=VALUE",
    "label:=x": "expected label:KEY=VALUE",
    "label:": "expected label:KEY=VALUE",
    "name:": "invalid selector 'name:'; expected name:GLOB",
    "batch:": "invalid selector 'batch:'; expected batch:NAME",
}


class Request(NamedTuple):
    """What a request says besides."""

    dry_run: bool = True
    brief: bool = False
    limit: int | None = None
    after: str | None = None


class Clock:
    """The lab's."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def now(self) -> Any:
        return self._lab.now


async def listed(lab: Lab, text: str) -> list[int]:
    """As `list` does."""
    return await selection.resolve_all(lab.store, [text])


async def one(lab: Lab, text: str) -> list[int]:
    """As `show`, `logs`, `send` and a dry run of `move` do: it must be one job."""
    return [await selection.resolve_one(lab.store, text)]


async def plain_or_one(lab: Lab, text: str) -> list[int]:
    """As `edit`, `move` and `explain` do."""
    named = await selection.id_or_seq(lab.store, text)
    return [(await lab.store.edit(named, {}, now=lab.now)).seq]


async def cancelled(lab: Lab, text: str) -> list[int]:
    """As `cancel` and the other verbs on many jobs do."""

    async def act(_: Sequence[int], __: BulkCursor, ___: bool) -> ActionResult:
        raise AssertionError("it was to be looked at alone")

    changed = await BulkExecutor(lab.store, Clock(lab)).apply(JobAction.CANCEL, [text], Request(), act)  # type: ignore[arg-type]
    return [job.seq for job in changed.jobs]


async def awaited(lab: Lab, text: str) -> list[int]:
    """As `wait` does."""
    wait = await waiting.for_jobs(lab.store, Bus(lab.store), [text], None)
    try:
        return [seq for _, seq in wait.wait_set.order(waiting.WaitCursor())]
    finally:
        wait.close()


async def depended_on(lab: Lab, text: str) -> list[int]:
    """As `enqueue --after` does."""
    parents = [(text, "any")]
    seen = await first_look(lab.store, [parents])
    job = await verbs.add(lab.store, new(depends_on=tuple(parents), resolved=seen), now=lab.now)
    await verbs.remove(lab.store, [job.seq], now=lab.now)
    return await _seqs(lab, job)


async def _seqs(lab: Lab, job: Any) -> list[int]:
    return [seq for seq in await lab.store.queries.find_each([name for name, _ in job.depends_on]) if seq is not None]


Way = Callable[[Lab, str], Awaitable[list[int]]]
ONE: tuple[Way, ...] = (one, plain_or_one)
MANY: tuple[Way, ...] = (listed, cancelled, awaited)
WAYS: tuple[Way, ...] = (*ONE, *MANY, depended_on)


async def _fill(lab: Lab) -> None:
    for job in JOBS:
        await lab.add(**job)
    lab.pass_time(10)


@in_lab
async def test_each_text_names_the_same_jobs_for_every_verb(lab: Lab) -> None:
    await _fill(lab)
    for text, seqs in NAMED.items():
        for way in MANY:
            assert await way(lab, text) == seqs, (way.__name__, text)
        for way in ONE:
            if len(seqs) == 1:
                assert await way(lab, text) == seqs, (way.__name__, text)
                continue
            with pytest.raises(Refused, match="matches several jobs") as refused:
                await way(lab, text)
            assert refused.value.code is ErrorCode.INVALID_PARAMS
        # A batch is waited for as one: whoever comes to it later counts, too.
        assert text == "batch:b" or await depended_on(lab, text) == seqs, text


@in_lab
async def test_what_names_no_job_is_refused_unless_there_may_be_none(lab: Lab) -> None:
    await _fill(lab)
    for text in NOBODY:
        assert await listed(lab, text) == await awaited(lab, text) == [], text
        for way in (*ONE, cancelled, depended_on):
            assert await _code(lab, way, text) is ErrorCode.NOT_FOUND, (way.__name__, text)
    for text in NO_JOB:
        for way in WAYS:
            assert await _code(lab, way, text) is ErrorCode.NOT_FOUND, (way.__name__, text)


@in_lab
async def test_a_selector_that_makes_no_sense_is_refused_in_the_same_words(lab: Lab) -> None:
    await _fill(lab)
    for text, words in NONSENSE.items():
        said = set()
        for way in WAYS:
            with pytest.raises(Refused) as refused:
                await way(lab, text)
            assert refused.value.code is ErrorCode.INVALID_PARAMS, (way.__name__, text)
            assert refused.value.data is not None
            assert refused.value.data["id"] == text
            said.add(refused.value.message)
        assert len(said) == 1, said
        assert words in said.pop()


async def _code(lab: Lab, way: Way, text: str) -> ErrorCode:
    with pytest.raises(Refused) as refused:
        await way(lab, text)
    return refused.value.code
