"""A nearly full disk: what makes the store longer is refused in time, all else goes on."""

from pathlib import Path

import pytest

from queuectl_client.protocol.vocabulary import ErrorCode
from queuectld.domain.errors import Refused
from queuectld.store.writer import disk_space
from queuectld.store.writer.disk_space import DiskSpace
from tests.store import verbs
from tests.store.lab import Lab, in_lab


def free_are(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """From now on the disk has so many bytes left."""
    monkeypatch.setattr(DiskSpace, "_free", lambda _: count)


def test_what_would_take_the_last_room_is_refused_and_jobs_can_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @in_lab
    async def scenario(lab: Lab) -> None:
        await lab.add("x" * 50_000)
        free_are(monkeypatch, 200_000)
        await lab.add("x" * 50_000)
        with pytest.raises(Refused) as refused:
            await lab.add("x" * 100_000)
        assert refused.value.code is ErrorCode.NO_SPACE
        free_are(monkeypatch, 0)
        await verbs.remove(lab.store, [1], now=lab.now)
        await lab.add("x" * 30_000)  # where the other one was
        assert [job.seq for job in await lab.store.queries.many([1, 2, 3])] == [2, 3]
        free_are(monkeypatch, disk_space.PLENTY_BYTES)
        await lab.add("x" * 100_000)

    scenario(tmp_path)


def test_the_log_is_moved_into_the_file_while_there_is_room_for_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @in_lab
    async def scenario(lab: Lab) -> None:
        await lab.add("x" * 100_000)
        empty = lab.path.stat().st_size
        free_are(monkeypatch, 1_000_000)
        await lab.add("x" * 200_000)
        await lab.add()  # behind the checkpoint
        assert lab.path.stat().st_size > empty + 300_000, "it was in the log alone"

    scenario(tmp_path)
