"""Sends input for the stdin of running jobs to their workers."""

import asyncio
from collections.abc import Mapping
from itertools import count
from typing import Any

from queuectld.pool.process import RunKey, Worker

OLD_WORKER = "old"
"""In addition to the refusals of workers (`ended`, `closed`, `full`): the worker does not support the frame."""
LOST = "lost"


class StdinSender:
    """Completes each send when the worker accepts or refuses it."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._waiting: dict[int, tuple[RunKey, asyncio.Future[str | None]]] = {}
        self._unsent: dict[RunKey, list[Mapping[str, Any]]] = {}

    async def send(self, worker: Worker | None, key: RunKey, data: bytes, *, eof: bool) -> str | None:
        """Send data to a job that the worker runs or is about to run. Returns None if accepted, else the refusal."""
        if worker is None:
            return LOST
        number = next(self._numbers)
        body = {"seq": key.seq, "run": key.run, "number": number, "data": data, "eof": eof}
        answer: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._waiting[number] = key, answer
        # The claim may be committed before its worker receives it; or the worker is about to reconnect.
        self._unsent.setdefault(key, []).append(body)
        if worker.job == key:
            self.begun(worker, key)
        try:
            return await answer
        finally:
            self._waiting.pop(number, None)

    def begun(self, worker: Worker, key: RunKey) -> None:
        """The worker was sent this execution, or reported that it runs it."""
        if worker.link is None or key not in self._unsent:
            return
        if not worker.takes_input:
            self.over(key, OLD_WORKER)
        for body in self._unsent.pop(key, ()):
            worker.link.send("send", body)

    def told(self, body: Mapping[str, Any]) -> None:
        """Handle a `sent` frame."""
        waiting = self._waiting.get(body["number"])
        if waiting is not None and not waiting[1].done():
            refused = body.get("refused")
            waiting[1].set_result(None if refused is None else str(refused))

    def over(self, key: RunKey, why: str = "ended") -> None:
        """Refuse pending sends: the execution has ended or did not start."""
        self._unsent.pop(key, None)
        self.lost(key, why)

    def lost(self, key: RunKey, why: str = LOST) -> None:
        """Refuse sends whose connection broke, as it is unknown whether they arrived. Unsent ones keep waiting."""
        unsent = {body["number"] for body in self._unsent.get(key, ())}
        for number, (of, answer) in self._waiting.items():
            if of == key and number not in unsent and not answer.done():
                answer.set_result(why)
