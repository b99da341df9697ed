"""Input on its way from a client to a worker: each send is answered once, whatever becomes of worker and run."""

import asyncio
from collections.abc import Mapping
from typing import Any, cast

from queuectld.pool.link import WorkerLink
from queuectld.pool.process import RunKey, Worker
from queuectld.pool.stdin import StdinSender

RUN = RunKey(1, 1)


class Recorder:
    """A link that keeps what is sent over it."""

    def __init__(self) -> None:
        self.sent: list[Mapping[str, Any]] = []

    def send(self, kind: str, body: Mapping[str, Any]) -> None:
        assert kind == "send"
        self.sent.append(body)


def a_worker(*, job: RunKey | None = RUN, takes_input: bool = True) -> tuple[Worker, Recorder]:
    worker, link = Worker(3, 1, 1, 0), Recorder()
    worker.link, worker.job, worker.takes_input = cast(WorkerLink, link), job, takes_input
    return worker, link


async def _asked(stdin_sender: StdinSender, worker: Worker | None, data: bytes = b"x") -> "asyncio.Task[str | None]":
    task = asyncio.create_task(stdin_sender.send(worker, RUN, data, eof=False))
    await asyncio.sleep(0)
    return task


def test_a_worker_that_has_it_says_so() -> None:
    async def play() -> None:
        stdin_sender, (worker, link) = StdinSender(), a_worker()
        first, second = await _asked(stdin_sender, worker, b"1"), await _asked(stdin_sender, worker, b"2")
        assert [body["data"] for body in link.sent] == [b"1", b"2"]
        stdin_sender.told({"number": link.sent[1]["number"], "refused": "full"})
        stdin_sender.told({"number": link.sent[0]["number"], "refused": None})
        stdin_sender.told({"number": 99, "refused": None})
        assert (await first, await second) == (None, "full")

    asyncio.run(play())


def test_it_waits_for_a_worker_that_was_not_given_the_job_yet() -> None:
    async def play() -> None:
        stdin_sender, (worker, link) = StdinSender(), a_worker(job=None)
        task = await _asked(stdin_sender, worker)
        assert link.sent == []
        worker.job = RUN
        stdin_sender.begun(worker, RUN)
        stdin_sender.told({"number": link.sent[0]["number"], "refused": None})
        assert await task is None

    asyncio.run(play())


def test_it_waits_for_a_worker_that_is_about_to_connect_again() -> None:
    async def play() -> None:
        stdin_sender, (worker, link) = StdinSender(), a_worker()
        over_the_old_link = await _asked(stdin_sender, worker)
        worker.link = None
        waiting = await _asked(stdin_sender, worker, b"2")
        stdin_sender.lost(RUN)
        assert await over_the_old_link == "lost"
        worker.link = cast(WorkerLink, link)
        stdin_sender.begun(worker, RUN)
        assert link.sent[-1]["data"] == b"2"
        stdin_sender.over(RUN)
        assert await waiting == "ended"

    asyncio.run(play())


def test_an_older_worker_is_not_sent_what_it_would_never_answer() -> None:
    async def play() -> None:
        stdin_sender, (worker, link) = StdinSender(), a_worker(takes_input=False)
        assert await stdin_sender.send(worker, RUN, b"x", eof=False) == "old"
        assert await stdin_sender.send(None, RUN, b"x", eof=False) == "lost"
        assert link.sent == []

    asyncio.run(play())
