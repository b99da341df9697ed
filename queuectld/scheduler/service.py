"""The services that the server's handlers call; its only interface to the scheduler and the workers."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

from queuectl_client.protocol.messages import WorkerStart, WorkerStop
from queuectl_client.protocol.vocabulary import WorkerState
from queuectld.scheduler.bus import Bus
from queuectld.scheduler.daemon import DaemonService
from queuectld.scheduler.hints import Hints
from queuectld.scheduler.jobs.dlq import DlqService
from queuectld.scheduler.jobs.logs import LogService
from queuectld.scheduler.jobs.service import JobService
from queuectld.scheduler.queues import QueueService
from queuectld.scheduler.retention import Retention
from queuectld.scheduler.settings import ConfigService


class PoolDescription(Protocol):
    """The number and kind of a worker pool."""

    @property
    def id(self) -> int: ...
    @property
    def kind(self) -> str: ...


class WorkerDescription(Protocol):
    """A worker as shown to clients. `since_ms` is Unix time."""

    @property
    def id(self) -> str: ...
    @property
    def number(self) -> int: ...
    @property
    def pid(self) -> int: ...
    @property
    def state(self) -> WorkerState: ...
    @property
    def job(self) -> str | None: ...
    @property
    def pool(self) -> PoolDescription: ...
    @property
    def since_ms(self) -> int: ...
    @property
    def jobs_done(self) -> int: ...


class StartResult(Protocol):
    """Workers that have started. The events after `event_seq` hold everything they do."""

    @property
    def workers(self) -> Sequence[WorkerDescription]: ...
    @property
    def pool(self) -> int | None: ...
    @property
    def event_seq(self) -> int: ...


class StopResult(Protocol):
    """Workers that ended or were told to, how many remain, and descriptions of what did not end in time (`left`)."""

    @property
    def workers(self) -> Sequence[WorkerDescription]: ...
    @property
    def remaining(self) -> int: ...
    @property
    def left(self) -> Sequence[str]: ...


class WorkerService(Protocol):
    """Worker methods. `client` identifies the connection of the client."""

    async def start(self, wanted: WorkerStart, client: Hashable) -> StartResult: ...
    async def stop(self, wanted: WorkerStop) -> StopResult: ...
    def list(self) -> Sequence[WorkerDescription]: ...
    async def scale(self, count: int | None) -> Sequence[WorkerDescription]: ...
    def client_gone(self, client: Hashable) -> None: ...


@dataclass(frozen=True, slots=True)
class Service:
    """All services."""

    jobs: JobService
    hints: Hints
    logs: LogService
    dlq: DlqService
    config: ConfigService
    queues: QueueService
    workers: WorkerService
    bus: Bus
    retention: Retention
    daemon: DaemonService
