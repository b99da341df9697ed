"""The daemon's front door on a real socket, before a service that only records; and a client that speaks raw frames."""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

from queuectl_client.protocol import rpc
from queuectl_client.protocol.vocabulary import EventKind, JobState
from queuectld.domain.job import Job, Options
from queuectld.domain.retry import RetryPolicy
from queuectld.scheduler.bus import Bus
from queuectld.scheduler.hints import Hint
from queuectld.scheduler.jobs.bulk import BulkResult
from queuectld.scheduler.jobs.service import Status
from queuectld.scheduler.jobs.wait_calls import WaitOutcome, WaitPage
from queuectld.server.connections import Connections
from queuectld.server.listener import Listener
from queuectld.server.socketfile import bind
from queuectld.store.records import Added, AddedOne, AddedSummary, Committed, Due, Event, Page

DEADLINE_S = 20
"""For everything that has to come; a test that waits so long has failed."""


def scene(play: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test that plays on an event loop of its own."""

    @functools.wraps(play)
    def test(*args: Any, **kwargs: Any) -> None:
        asyncio.run(play(*args, **kwargs))

    return test


def a_job(seq: int = 1, **changes: Any) -> Job:
    """A job with nothing special about it; `changes` are of its fields and of those of its options."""
    options = {name: changes.pop(name) for name in changes.keys() & {*Options._fields}}
    fields: dict[str, Any] = {
        "seq": seq, "id": f"job_{seq}", "command": "true", "state": JobState.PENDING, "queue": "default", "priority": 0,
        "rank": seq, "attempts": 0, "run": 0, "runs": 0, "crashes": 0,
        "created_ms": 1_700_000_000_123, "updated_ms": 1_700_000_000_123,
        "options": Options(**{"retry": RetryPolicy(3, 2, 3600), **options}),
    }  # fmt: skip
    return Job(**fields | changes)


class Recorder:
    """Stands for every noun of the service: notes each call, and answers with `replies[method]` or waits for it."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.ended: list[str] = []
        """Names of calls as they ended, cancelled ones with a leading `-`."""
        self.replies: dict[str, Any] = {}
        self.gates: dict[str, asyncio.Event] = {}
        self.owners_gone = 0
        self.events: list[Event] = []

    def hold(self, method: str) -> asyncio.Event:
        """Let calls of `method` wait until the event that is returned is set."""
        return self.gates.setdefault(method, asyncio.Event())

    def names(self) -> list[str]:
        """The calls begun so far, by name."""
        return [name for name, _ in self.calls]

    def noun(self, noun: str) -> Any:
        """What the service has under this name."""
        return _Noun(self, noun)

    async def take(self, method: str, args: tuple[Any, ...]) -> Any:
        """One call from its start to its end."""
        self.calls.append((method, args))
        try:
            if (gate := self.gates.get(method)) is not None:
                await gate.wait()
        except asyncio.CancelledError:
            self.ended.append(f"-{method}")
            raise
        self.ended.append(method)
        reply = self.replies.get(method, a_job())
        if isinstance(reply, BaseException):
            raise reply
        return reply

    # What the bus needs of a store.
    @property
    def last_event_seq(self) -> int:
        return self.events[-1].event_seq if self.events else 0

    async def events_since(self, event_seq: int, limit: int) -> Sequence[Event]:
        return [event for event in self.events if event.event_seq > event_seq][:limit]

    async def oldest_event(self) -> int:
        return self.events[0].event_seq if self.events else 1


class _Noun:
    def __init__(self, recorder: Recorder, noun: str) -> None:
        self._recorder = recorder
        self._noun = noun
        self.commands = self

    def __getattr__(self, verb: str) -> Callable[..., Awaitable[Any]]:
        return lambda *args: self._recorder.take(f"{self._noun}.{verb}", args)

    def client_gone(self, owner: object) -> None:
        self._recorder.owners_gone += 1

    def info(self) -> Mapping[str, Any]:
        return {"pid": 1, "version": "0.1.0", "store": "/home/queuectl.db", "started_at": 1_700_000_000.123}


class FakeService:
    """Has the nouns of the service, all recorded; the bus is the real one."""

    def __init__(self) -> None:
        self.recorder = Recorder()
        self.jobs, self.logs, self.dlq, self.config, self.queues, self.workers, self.daemon = map(
            self.recorder.noun, ("jobs", "logs", "dlq", "config", "queues", "workers", "daemon")
        )
        self.hints = SimpleNamespace(of=lambda queues: Hint(sorted(queues), 1, 1, draining=False))
        self.bus = Bus(self.recorder)
        self.recorder.replies |= {
            "jobs.status": Status({JobState.PENDING: 4}, 3, [], 0),
            "jobs.enqueue_many": Added(["job_1"], [1]),
            "jobs.batch_open": "token-1",
            "jobs.batch_add": Added(["job_1"], [1]),
            "jobs.batch_commit": AddedSummary(1, 1, 1),
            "jobs.wait": WaitPage(WaitOutcome(True, {}, None), Page([], None), None),
            "jobs.enqueue": AddedOne(a_job()),
            "jobs.cancel": BulkResult([a_job()], 1, 0, [], None),
            "jobs.get": (a_job(), []),
            "jobs.page": Page([a_job()], None),
        }

    def happen(self, count: int = 1, **detail: Any) -> None:
        """Commit so many events."""
        first = self.recorder.last_event_seq + 1
        events = [
            Event(number, 1_700_000_000_000, EventKind.JOB_PENDING, "job_1", 1, "default", None, None, detail)
            for number in range(first, first + count)
        ]
        self.recorder.events += events
        self.bus.committed(Committed(events, ready=False, due=Due(None, None)))


class FrontDoor:
    """`async with FrontDoor(folder) as door`: listens at `door.path`, calls `door.service`."""

    def __init__(self, folder: Path, max_connections: int = 1000) -> None:
        self.path = folder / "queuectl.sock"
        self.service = FakeService()
        self.recorder = self.service.recorder
        self._max_connections = max_connections
        self._clients: list[WireClient] = []

    async def __aenter__(self) -> Self:
        self.connections = Connections(self.service, self._max_connections)  # type: ignore[arg-type]
        self.listener = Listener(asyncio.get_running_loop(), [bind(self.path)], self.connections.admit)
        (self.path.parent / "lock").touch()
        self.listener.serve(self.path.parent / "lock")
        return self

    async def __aexit__(self, *_: object) -> None:
        self.listener.close()
        for client in self._clients:
            client.close()
        for gate in self.recorder.gates.values():
            gate.set()
        await self.connections.close_all(DEADLINE_S)

    async def connect(self) -> "WireClient":
        """A new client."""
        client = WireClient(*await asyncio.open_unix_connection(str(self.path)))
        self._clients.append(client)
        return client


class WireClient:
    """Sends what it is told, reads messages one by one."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self._decoder = rpc.Decoder()
        self._messages: list[rpc.Message] = []
        self._next_id = 0

    def send(self, *frames: bytes) -> None:
        """Send bytes in one piece."""
        self.writer.write(b"".join(frames))

    def ask(self, method: str, **params: Any) -> int:
        """Send a call; its msgid."""
        self._next_id += 1
        self.send(rpc.request(self._next_id, method, params))
        return self._next_id

    async def call(self, method: str, **params: Any) -> Any:
        """Send a call and wait for its answer, which has to be the next message: the result, or its error raised."""
        msgid = self.ask(method, **params)
        answer = await self.answer()
        assert answer.msgid == msgid
        if answer.error is not None:
            raise CallFailed(answer.error)
        return answer.result

    async def answer(self) -> rpc.Response:
        """The next message, which has to be an answer."""
        message = await self.read()
        assert isinstance(message, rpc.Response), message
        return message

    async def read(self) -> rpc.Message | None:
        """The next message; None when the daemon has closed the connection."""
        while not self._messages:
            try:
                data = await asyncio.wait_for(self._reader.read(1 << 16), DEADLINE_S)
            except ConnectionError:
                return None
            if not data:
                return None
            self._messages += self._decoder.feed(data)
        return self._messages.pop(0)

    async def is_closed(self) -> bool:
        """Whether the daemon closes this connection, with nothing more to say."""
        return await self.read() is None

    def close(self) -> None:
        """Hang up."""
        self.writer.close()


class CallFailed(Exception):
    """The error of an answer, as it came."""

    def __init__(self, error: Any) -> None:
        super().__init__(error)
        self.error = error
