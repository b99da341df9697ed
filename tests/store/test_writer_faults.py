"""A fault of ours in the writing thread, outside any request: who waits is answered, and the daemon is told to stop."""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from queuectl_client.protocol.vocabulary import JobState
from queuectld.store.records import StoreFailed
from queuectld.store.writer import thread
from tests.store import verbs
from tests.store.lab import Lab, in_lab

PATIENCE = 30


class Fault(Exception):
    """What nobody foresaw."""


def fail(*_: Any, **__: Any) -> Any:
    raise Fault


def _flush(lab: Lab, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(lab.store._writer._session, "flush", fail)


def _committed(lab: Lab, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(lab.store._writer._session, "committed", fail)


def _hand_over(lab: Lab, patch: pytest.MonkeyPatch) -> None:
    lab.store._writer._session.settings_changed = True
    patch.setattr(thread, "read_settings", fail)


def _file_identity(lab: Lab, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(lab.store._writer._file_identity, "changed_path", fail)


@pytest.mark.parametrize("place", [_flush, _committed, _hand_over, _file_identity])
def test_a_fault_outside_a_request_answers_all_who_wait_and_ends_the_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: Callable[[Lab, pytest.MonkeyPatch], None]
) -> None:
    @in_lab
    async def scenario(lab: Lab) -> None:
        await lab.add()
        with monkeypatch.context() as patch:
            place(lab, patch)
            answers = await asyncio.wait_for(
                asyncio.gather(lab.add(), lab.add(), return_exceptions=True), PATIENCE
            )  # fmt: skip
        assert [type(answer) for answer in answers] == [StoreFailed, StoreFailed]
        with pytest.raises(StoreFailed):
            await asyncio.wait_for(lab.add(), PATIENCE)
        assert [str(error) for error in lab.broken] == [str(answers[0])]
        assert "Fault" in str(answers[0])
        assert "the daemon stops" in str(answers[0])
        assert (await lab.store.counts()).by_state[JobState.PENDING] >= 1

    scenario(tmp_path)


def test_what_was_acknowledged_before_a_fault_stays_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @in_lab
    async def scenario(lab: Lab) -> None:
        monkeypatch.setattr(thread, "CHECKPOINT_COMMITS", 1)
        with monkeypatch.context() as patch:
            patch.setattr(lab.store._writer, "_checkpoint", fail)
            assert (await asyncio.wait_for(lab.add(id="stored"), PATIENCE)).id == "stored"
            with pytest.raises(StoreFailed):
                await asyncio.wait_for(lab.add(), PATIENCE)
        assert len(lab.broken) == 1

    scenario(tmp_path)
    with sqlite3.connect(tmp_path / "home" / "queuectl.db") as after:
        assert after.execute("SELECT id FROM job").fetchall() == [("stored",)]


def test_a_commit_that_could_not_be_told_to_the_daemon_is_acknowledged_and_ends_it(tmp_path: Path) -> None:
    @in_lab
    async def scenario(lab: Lab) -> None:
        lab.store.subscribe(fail)
        assert (await asyncio.wait_for(lab.add(id="stored"), PATIENCE)).id == "stored"
        assert len(lab.broken) == 1
        with pytest.raises(StoreFailed):
            await asyncio.wait_for(lab.add(), PATIENCE)
        assert await verbs.find(lab.store, "stored") == 1

    scenario(tmp_path)


@in_lab
async def test_an_error_that_no_future_can_hold_is_an_answer_all_the_same(lab: Lab) -> None:
    """`next()` of nothing, in a request or in a question: a future refuses StopIteration, and nobody was answered."""
    with pytest.raises(RuntimeError, match="StopIteration"):
        await asyncio.wait_for(lab.store._writer.submit(lambda _: next(iter(()))), PATIENCE)
    with pytest.raises(RuntimeError, match="StopIteration"):
        await asyncio.wait_for(lab.store._reader.submit(lambda _: next(iter(()))), PATIENCE)
    await lab.add()
