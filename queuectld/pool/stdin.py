"""What clients send to the stdin of running jobs, on its way to their workers."""

import asyncio
from collections.abc import Mapping
from itertools import count
from typing import Any

from queuectld.pool.process import RunKey, Worker

OLD_WORKER = "old"
"""Beside what workers say (`ended`, `closed`, `full`): this one does not know the frame."""
LOST = "lost"


class StdinSender:
    """Answers each send once the worker has said that it has it, or why not."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._waiting: dict[int, tuple[RunKey, asyncio.Future[str | None]]] = {}
        self._unsent: dict[RunKey, list[Mapping[str, Any]]] = {}

    async def send(self, worker: Worker | None, key: RunKey, data: bytes, *, eof: bool) -> str | None:
        """Send this to the job that the worker runs, or is just being given. None: the worker has it; else why not."""
        if worker is None:
            return LOST
        number = next(self._numbers)
        body = {"seq": key.seq, "run": key.run, "number": number, "data": data, "eof": eof}
        answer: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._waiting[number] = key, answer
        # Claimed, and told so to everybody, a moment before the worker is; or the worker is about to connect again.
        self._unsent.setdefault(key, []).append(body)
        if worker.job == key:
            self.begun(worker, key)
        try:
            return await answer
        finally:
            self._waiting.pop(number, None)

    def begun(self, worker: Worker, key: RunKey) -> None:
        """The worker was given this execution, or said that it runs it."""
        if worker.link is None or key not in self._unsent:
            return
        if not worker.takes_input:
            self.over(key, OLD_WORKER)
        for body in self._unsent.pop(key, ()):
            worker.link.send("send", body)

    def told(self, body: Mapping[str, Any]) -> None:
        """A worker has answered."""
        waiting = self._waiting.get(body["number"])
        if waiting is not None and not waiting[1].done():
            refused = body.get("refused")
            waiting[1].set_result(None if refused is None else str(refused))

    def over(self, key: RunKey, why: str = "ended") -> None:
        """This execution has ended or did not begin: no answer is to come."""
        self._unsent.pop(key, None)
        self.lost(key, why)

    def lost(self, key: RunKey, why: str = LOST) -> None:
        """The connection went that it was sent over: whether the job has it nobody knows. What was not sent waits."""
        unsent = {body["number"] for body in self._unsent.get(key, ())}
        for number, (of, answer) in self._waiting.items():
            if of == key and number not in unsent and not answer.done():
                answer.set_result(why)
