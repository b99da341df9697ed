"""What is reported of a run whose worker is gone, with nothing left of it to end."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from queuectl_client.protocol.vocabulary import JobState
from queuectld.boot import boot_id
from queuectld.domain.outcome import EndKind, Outcome
from queuectld.pool import recovery
from queuectld.pool.process import RunKey, Worker
from queuectld.pool.recovery import Recovery
from queuectld.scheduler.clock import Clock
from queuectld.scheduler.inbox import Inbox
from queuectld.workerwire import statefile
from tests.store.lab import Lab, in_lab


async def _ended(*_: Any) -> list[Any]:
    return []


@pytest.mark.parametrize(
    "boot, counts",
    [(None, True), ("another boot", True), (boot_id(), False)],
    ids=["no state file", "before a power cut", "of this boot"],
)
def test_a_run_that_left_no_trace_counts_as_begun_unless_its_worker_would_know_it(
    boot: str | None, counts: bool, tmp_path: Path
) -> None:
    """A restored backup and a power cut leave less behind than there was: a `once` job must not run again."""
    if boot is not None:
        descriptor = statefile.open_for_writing(statefile.path_of(str(tmp_path), 1))
        statefile.write(descriptor, {"seq": 0, "run": 0, "pid": 0, "boot_id": boot})
        os.close(descriptor)
    inbox = Inbox()
    places, pending = SimpleNamespace(state=tmp_path, logs=tmp_path), SimpleNamespace(note=lambda _: None)
    pool = SimpleNamespace(places=places, job_socket="", pending_outcomes=pending)

    @in_lab
    async def scenario(lab: Lab) -> None:
        await lab.add(once=True)
        claimed = await lab.claim()
        assert claimed.worker == 1
        settling = Recovery(lab.store, Clock(None), cast(Any, pool), inbox, lambda _: None)
        await settling.settle(Worker(1, 1, 1, 0), RunKey(1, claimed.run), "job_1")
        job = await lab.get(1)
        assert job.state is (JobState.PROCESSING if counts else JobState.PENDING)

    scenario(tmp_path)
    assert [(each.seq, each.kind) for each in inbox.outcomes] == ([(1, EndKind.CRASHED)] if counts else [])


@pytest.mark.parametrize(
    "why, kind, signal",
    [
        (None, EndKind.CRASHED, None),
        ("stall", EndKind.CRASHED, None),
        ("timeout", EndKind.TIMED_OUT, None),
        ("cancelled", EndKind.SIGNALLED, 9),
        ("shutdown", EndKind.INTERRUPTED, None),
    ],
)
def test_a_run_ended_as_what_its_killed_worker_was_to_end_it_for(
    why: str | None, kind: EndKind, signal: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = SimpleNamespace(record={"started_ms": 1, "pid": 77}, processes=())
    monkeypatch.setattr(recovery.orphans, "find", lambda *_: trace)
    monkeypatch.setattr(recovery.orphans, "end", _ended)
    reported: list[Outcome] = []
    noted: list[RunKey] = []
    places, pending = SimpleNamespace(state=tmp_path, logs=tmp_path), SimpleNamespace(note=noted.append)
    pool = SimpleNamespace(places=places, job_socket="", pending_outcomes=pending)

    @in_lab
    async def scenario(lab: Lab) -> None:
        await lab.add()
        claimed = await lab.claim()
        reports = cast(Any, SimpleNamespace(report=reported.append))
        settling = Recovery(lab.store, Clock(None), cast(Any, pool), reports, lambda _: None)
        worker, key = Worker(claimed.worker, 1, 1, 0), RunKey(1, 1)
        worker.unfinished_run = None if why is None else (key, why)
        await settling.settle(worker, key, "job_1")

    scenario(tmp_path)
    (outcome,) = reported
    assert (outcome.seq, outcome.run, outcome.kind, outcome.signal, outcome.pid) == (1, 1, kind, signal, 77)
    assert noted == [(1, 1)]
