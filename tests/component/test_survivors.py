"""The watch over processes that outlived their run."""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence

from queuectld.boot import boot_id
from queuectld.domain.outcome import Survivor
from queuectld.pool.survivors import Survivors
from queuectld.scheduler.clock import Clock
from queuectld.workerwire import procfs

DEADLINE_S = 20


class Store:
    """What the watch needs of a store."""

    def __init__(self, survivors: Mapping[int, tuple[Survivor, ...]]) -> None:
        self.survivors = survivors
        self.noted: asyncio.Queue[Sequence[Survivor]] = asyncio.Queue()
        self.gone: asyncio.Queue[int] = asyncio.Queue()

    async def set_survivors(self, seq: int, survivors: Sequence[Survivor]) -> None:
        self.survivors = {seq: tuple(survivors)}
        self.noted.put_nowait(survivors)

    async def clear_survivors(self, seq: int, *, now: object) -> None:
        self.survivors = {}
        self.gone.put_nowait(seq)


def left_behind(pid: int) -> Survivor:
    process = procfs.look(pid)
    assert process is not None
    return Survivor(pid, process.start_time, boot_id(), process.session, process.comm, True)


def test_what_a_survivor_started_in_its_session_is_waited_for_too() -> None:
    async def play(leader: "subprocess.Popen[bytes]", child: int) -> None:
        store = Store({7: (left_behind(leader.pid),)})
        watch = Survivors(store, Clock(None))  # type: ignore[arg-type]
        watch.watch_new()
        leader.kill()
        leader.wait()
        async with asyncio.timeout(DEADLINE_S):
            assert [each.pid for each in await store.noted.get()] == [child]
            assert store.gone.empty()
            os.kill(child, signal.SIGKILL)
            assert await store.gone.get() == 7
        watch.close()

    command = ["/bin/sh", "-c", "sleep 600 & echo $!; exec sleep 600"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as leader:
        assert leader.stdout is not None
        child = int(leader.stdout.readline())
        try:
            asyncio.run(play(leader, child))
        finally:
            for pid in (leader.pid, child):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
