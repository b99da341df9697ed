"""The second look at workers that do not answer, with processes that stand for them."""

import asyncio
import subprocess
from collections.abc import Callable

import pytest

from queuectld.pool import watchdog
from queuectld.pool.process import RunKey, Worker, watch_exit
from queuectld.pool.watchdog import Watchdog
from queuectld.workerwire import procfs

PATIENCE = 30


def worker_of(process: subprocess.Popen[bytes]) -> Worker:
    worker = Worker(1, 1, 1, 0)
    worker.pid, worker.start_time = process.pid, procfs.start_time(process.pid) or 0
    return worker


def killed_when(expect: Callable[[Watchdog, Worker], None]) -> Worker:
    """A worker that lives, is not stopped, and does nothing: it is killed for what is expected of it."""

    async def scenario(process: subprocess.Popen[bytes]) -> Worker:
        looks, worker, ended = Watchdog(), worker_of(process), asyncio.Event()
        watch_exit(worker.pid, worker.start_time, ended.set)
        expect(looks, worker)
        await asyncio.wait_for(ended.wait(), PATIENCE)
        looks.close()
        return worker

    with subprocess.Popen(["sleep", "1000"]) as process:
        try:
            return asyncio.run(scenario(process))
        finally:
            process.kill()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MARGIN_SECONDS", "ANSWER_SECONDS", "HELLO_SECONDS", "RECHECK_SECONDS"):
        monkeypatch.setattr(watchdog, name, 0.01)


def test_one_that_hangs_at_its_start_is_killed() -> None:
    killed_when(lambda looks, worker: looks.hello(worker, is_new=True))


@pytest.mark.parametrize("why", watchdog.END_REQUESTED)
def test_one_that_does_not_end_its_run_when_told_is_killed_for_that(why: str) -> None:
    key = RunKey(1, 1)

    def expect(looks: Watchdog, worker: Worker) -> None:
        worker.job = key
        looks.expect_run_end(worker, key, 0, why)

    assert killed_when(expect).unfinished_run == (key, why)


def test_a_time_out_that_stands_still_in_a_pause_does_not_keep_an_order_to_end_from_being_looked_after() -> None:
    key = RunKey(1, 1)

    def expect(looks: Watchdog, worker: Worker) -> None:
        worker.job = key
        looks.expect_run_end(worker, key, 0, "timeout")
        looks.expect_run_end(worker, key, 50, "cancelled")

    assert killed_when(expect).unfinished_run == (key, "cancelled")


def test_one_of_an_earlier_daemon_that_is_not_stopped_may_take_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(process: subprocess.Popen[bytes]) -> None:
        looks, worker, looked = Watchdog(), worker_of(process), asyncio.Semaphore(0)
        real = procfs.look

        def look(pid: int) -> procfs.Process | None:
            looked.release()
            return real(pid)

        monkeypatch.setattr(watchdog.procfs, "look", look)
        looks.hello(worker, is_new=False)
        for _ in range(5):
            await asyncio.wait_for(looked.acquire(), PATIENCE)
        looks.close()

    with subprocess.Popen(["sleep", "1000"]) as process:
        try:
            asyncio.run(scenario(process))
            assert process.poll() is None
        finally:
            process.kill()
