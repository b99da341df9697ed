"""The daemon retries its own work, such as recovery of workers, after a full disk or another error."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from queuectl_client.protocol.vocabulary import ErrorCode, JobState
from queuectld.domain.errors import Refused
from queuectld.domain.job import Claimed
from queuectld.pool import recovery, supervisor
from queuectld.pool.pool import WorkerPool
from queuectld.pool.process import Worker
from queuectld.pool.recovery import Recovery
from queuectld.pool.supervisor import Supervisor
from queuectld.scheduler import dispatcher
from queuectld.scheduler.clock import Clock
from queuectld.scheduler.dispatcher import Dispatcher
from queuectld.scheduler.inbox import Inbox
from queuectld.workerwire import spool
from tests.store.lab import Lab, in_lab
from tests.support.eventually import eventually_async

PATIENCE = 30
FULL = Refused(ErrorCode.NO_SPACE, "the disk is full")


class Failing:
    """A coroutine function that raises the first time, and is itself from then on."""

    def __init__(self, real: Callable[..., Coroutine[Any, Any, Any]], error: Exception) -> None:
        self.real = real
        self.error: Exception | None = error
        self.done = asyncio.Event()

    async def __call__(self, *arguments: Any, **named: Any) -> Any:
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        answer = await self.real(*arguments, **named)
        self.done.set()
        return answer


class LostWorkers:
    """A pool of one free worker that is gone before it has seen its job."""

    def __init__(self, worker: int) -> None:
        self._free = [worker]

    def free(self) -> Sequence[int]:
        return self._free

    def dedicated(self) -> dict[int, int]:
        return {}

    async def start(self, _: Claimed) -> bool:
        self._free = []
        return False

    def stored(self, _: Any) -> None:
        """Nothing to tell."""


def test_a_claim_that_reached_nobody_is_given_back_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "RETRY_SECONDS", 0.01)

    @in_lab
    async def scenario(lab: Lab) -> None:
        (worker,) = await lab.hire()
        await lab.add()
        return_claim = Failing(lab.store.return_claims, FULL)
        monkeypatch.setattr(lab.store, "return_claims", return_claim)
        turns = Dispatcher(lab.store, Clock(None), lambda _: 3, LostWorkers(worker), Inbox())
        going = asyncio.create_task(turns.run())
        await asyncio.wait_for(return_claim.done.wait(), PATIENCE)
        assert not going.done(), "a full disk ends no daemon"
        going.cancel()
        await asyncio.gather(going, return_exceptions=True)
        job = await lab.get(1)
        assert (job.state, job.runs, job.crashes) == (JobState.PENDING, 0, 0)

    scenario(tmp_path)


async def _nothing(*_: Any) -> None:
    """Done."""


@pytest.mark.parametrize("error", [FULL, OSError(24, "Too many open files"), ZeroDivisionError()])
def test_a_dead_worker_is_settled_whatever_comes_in_between(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "RETRY_SECONDS", 0.01)

    @in_lab
    async def scenario(lab: Lab) -> None:
        inbox = Inbox()
        pool = WorkerPool(lab.store, Clock(None), lambda _: 3, cast(Any, SimpleNamespace()), "", inbox)
        recovering = Recovery(lab.store, Clock(None), pool, inbox, lambda _: None)
        step = Failing(_nothing, error)
        monkeypatch.setattr(recovering, "_reap", step)
        pool.on_death(recovering.reap)
        pool.reap(Worker(1, 1, 1, 0))
        await asyncio.wait_for(step.done.wait(), PATIENCE)

    scenario(tmp_path)


def test_files_of_a_dead_worker_that_cannot_be_removed_now_are_removed_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "RETRY_SECONDS", 0.01)
    state, busy = tmp_path / "worker-1.state", [OSError(16, "Device or resource busy")] * 2
    state.touch()

    def remove(path: str) -> None:
        if busy:
            raise busy.pop()
        Path(path).unlink()

    async def scenario() -> None:
        pool = SimpleNamespace(places=SimpleNamespace(state=tmp_path, logs=str(tmp_path)))
        care = Recovery(cast(Any, None), Clock(None), cast(Any, pool), cast(Any, None), lambda _: None)
        monkeypatch.setattr(spool, "remove", remove)
        monkeypatch.setattr(spool, "drop_reserve", lambda *_: None)
        care._clear_files(Worker(1, 1, 1, 0))
        await eventually_async(lambda: not state.exists())

    asyncio.run(scenario())


def test_a_pool_whose_client_is_gone_ends_when_there_is_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "RETRY_SECONDS", 0.01)

    @in_lab
    async def scenario(lab: Lab) -> None:
        workers = cast(Any, SimpleNamespace(workers={}, dedication={}, awaiting_client=set()))
        subject = Supervisor(lab.store, Clock(None), workers)
        pool = await subject._new_pool(supervisor.FOREGROUND, 2)
        pool.client = "a client"
        note = Failing(lab.store.pool_set, FULL)
        forget = Failing(lab.store.pool_remove, FULL)
        monkeypatch.setattr(lab.store, "pool_set", note)
        monkeypatch.setattr(lab.store, "pool_remove", forget)
        subject.client_gone("a client")
        await asyncio.wait_for(forget.done.wait(), PATIENCE)
        assert note.done.is_set()
        assert await lab.store.queries.pools() == []

    scenario(tmp_path)
