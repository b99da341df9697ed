"""Reading what jobs wrote: over a real store, with workers that tell what a test has them tell."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from queuectl_client.protocol.messages import JobLogs
from queuectld.domain.job import Output
from queuectld.scheduler.bus import Bus
from queuectld.scheduler.jobs import logs as logs_module
from queuectld.scheduler.jobs.logs import LogPage, LogService
from tests.store.lab import Lab, in_lab


class Telling:
    """The output of a running execution, as a test lets it grow."""

    def __init__(self, text: bytes) -> None:
        self.over = False
        self._text = text
        self._grown = asyncio.Event()
        self.waited_for = asyncio.Event()

    @property
    def output(self) -> Mapping[str, Output]:
        return {"both": Output(len(self._text), self._text)}

    def tell(self, text: bytes) -> None:
        self._text += text
        self._grown.set()

    async def changed(self) -> None:
        self.waited_for.set()
        await self._grown.wait()
        self._grown.clear()


class Hands:
    """What a worker tells; None: no such worker is known."""

    def __init__(self, telling: Telling | None) -> None:
        self._telling = telling

    def follow(self, *_: int) -> Telling | None:
        return self._telling


def _logs(lab: Lab, telling: Telling | None = None) -> LogService:
    return LogService(lab.store, Bus(lab.store), Hands(telling), lab.path.parent)  # type: ignore[arg-type]


@in_lab
async def test_of_a_running_job_whose_worker_is_unknown_there_is_nothing_yet(lab: Lab) -> None:
    await lab.add()
    await lab.claim()
    assert await _logs(lab).read(JobLogs("1")) == LogPage(b"", 0, 0, 0, False, 1)


def test_half_a_line_of_much_output_is_held_back_until_the_rest_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs_module, "PROMPT_BYTES", 8)
    monkeypatch.setattr(logs_module, "HOLD_S", 60)

    @in_lab
    async def scenario(lab: Lab) -> None:
        await lab.add()
        await lab.claim()
        telling = Telling(b"line 1\nline 2")
        logs = _logs(lab, telling)
        assert (await logs.read(JobLogs("1", wait=True))).data == b"line 1\n"
        reading = asyncio.create_task(logs.read(JobLogs("1", offset=7, wait=True)))
        async with asyncio.timeout(20):
            await telling.waited_for.wait()
            telling.tell(b" and its end\nline 3")
            page = await reading
        assert (page.data, page.next) == (b"line 2 and its end\n", 26)
        monkeypatch.setattr(logs_module, "HOLD_S", 0)
        assert (await logs.read(JobLogs("1", offset=26, wait=True))).data == b"line 3"

    scenario(tmp_path)


@in_lab
async def test_stderr_that_was_kept_apart_follows_stdout(lab: Lab) -> None:
    await lab.add(split_output=True)
    output = {"stdout": Output(4, b"out\n"), "stderr": Output(4, b"err\n")}
    await lab.turn([lab.end(await lab.claim(), output=output)])
    logs = _logs(lab)
    first = await logs.read(JobLogs("1"))
    assert (first.data, first.next, first.eof) == (b"out\n", 4, False)
    assert await logs.read(JobLogs("1", offset=4)) == LogPage(b"err\n", 4, 8, 0, True, 1)
    assert await logs.read(JobLogs("1", offset=8)) == LogPage(b"", 8, 8, 0, True, 1)


@in_lab
async def test_a_read_of_a_file_leaves_no_descriptor_open(lab: Lab) -> None:
    await lab.add()
    (lab.path.parent / "1.log").write_bytes(b"text\n")
    await lab.turn([lab.end(await lab.claim(), output={"both": Output(5, None, (("1.log", 0, 5),))})])
    logs = _logs(lab)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        assert (await logs.read(JobLogs("1"))).data == b"text\n"
    assert len(os.listdir("/proc/self/fd")) == before
