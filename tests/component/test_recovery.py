"""What is reported of a run whose worker is gone, with nothing left of it to end."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from queuectld.domain.outcome import EndKind, Outcome
from queuectld.pool import recovery
from queuectld.pool.process import RunKey, Worker
from queuectld.pool.recovery import Recovery
from queuectld.scheduler.clock import Clock
from tests.store.lab import Lab, in_lab


async def _ended(*_: Any) -> list[Any]:
    return []


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
