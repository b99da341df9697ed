"""Requests: one frozen dataclass for each method, and the table of all methods.

`from_map` checks the parameters. Clients send plain maps and import none of these classes. The requests that add jobs
are in `submissions`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Protocol, Self

from queuectl_client.protocol import checks, filters
from queuectl_client.protocol.attributes import KINDS
from queuectl_client.protocol.checks import BadParams, bad
from queuectl_client.protocol.jobspec import JobSpec, label_filter, read_changes, signal_name
from queuectl_client.protocol.message import Request, param
from queuectl_client.protocol.operations import (
    MAX_PAGE,
    MAX_WORKERS,
    ConfigGet,
    ConfigList,
    ConfigSet,
    ConfigUnset,
    DaemonDrain,
    DaemonInfo,
    DaemonShutdown,
    DlqList,
    DlqPurge,
    DlqRetry,
    Empty,
    EventsSubscribe,
    JobPrune,
    Ping,
    QueueList,
    QueuePause,
    QueueRemove,
    QueueResume,
    QueueSet,
    WorkerList,
    WorkerScale,
    WorkerStart,
    WorkerStop,
)
from queuectl_client.protocol.spelling import snake_case
from queuectl_client.protocol.submissions import (
    MAX_JOBS,
    BatchAdd,
    BatchCommit,
    BatchOpen,
    Defaults,
    Enqueue,
    EnqueueMany,
    Jobs,
    Submitter,
)
from queuectl_client.protocol.vocabulary import JobState

__all__ = [
    "MAX_JOBS", "MAX_LOG_BYTES", "MAX_PAGE", "MAX_WORKERS", "REQUESTS", "AnyRequest", "BadParams", "BatchAdd",
    "BatchCommit", "BatchOpen", "ConfigGet", "ConfigList", "ConfigSet", "ConfigUnset", "DaemonDrain", "DaemonInfo",
    "DaemonShutdown", "Defaults", "DlqList", "DlqPurge", "DlqRetry", "Enqueue", "EnqueueMany", "EventsSubscribe",
    "Hello", "JobCancel", "JobEdit", "JobExplain", "JobGet", "JobHold", "JobIds", "JobKill", "JobLogs", "JobMove",
    "JobPause", "JobPrune", "JobRelease", "JobRemove", "JobResume", "JobRetry", "JobSend", "JobSpec", "JobWait", "Jobs",
    "ListJobs", "Ping", "QueueList", "QueuePause", "QueueRemove", "QueueResume", "QueueSet", "StatusGet", "Submitter",
    "WorkerList", "WorkerScale", "WorkerStart", "WorkerStop",
]  # fmt: skip

MAX_LOG_BYTES: Final = 1024 * 1024
"""Bytes of a page of output: an eighth of the largest message."""

MAX_SEND_BYTES: Final = 256 * 1024
"""Maximum bytes for a job's stdin in one call; more takes several calls, one after the other."""

_NAME = checks.text(1024)


class AnyRequest(Protocol):
    """Interface of the classes in REQUESTS."""

    @classmethod
    def from_map(cls, params: Mapping[str, Any]) -> Self: ...


@dataclass(frozen=True, slots=True)
class Hello(Request):
    """Exchange versions. Optional, but if made the first call of a connection."""

    client: str = param(_NAME, "")
    protocol: int = param(checks.integer(1, 1_000_000), 1)


class StatusGet(Empty):
    """Return counts by state, workers, and paused queues."""

    __slots__ = ()


def _job_key(_key: str, value: Any) -> str:
    """Check a key for a page of selected keys."""
    if isinstance(value, str) and (name := snake_case(value)) in KINDS:
        return name
    raise checks.unknown("key of a job", value, KINDS)


@dataclass(frozen=True, slots=True)
class ListJobs(Request):
    """Return a page of jobs. `since`: created since then (Unix ms); `after`: the `next` of the previous page.

    `ended_since` (Unix ms) and `reason`: see DeadFilter.

    `seqs`: only these jobs, in this order. `keys`: only these keys of each; keys of filters are allowed.
    `sort`: the first `limit` jobs by this key, absent values last; `descending`: largest first.
    """

    SPELLINGS: ClassVar = {"id": "ids", "labels": "label", "states": "state"}
    state: tuple[JobState, ...] | None = param(checks.list_of(checks.word_of(JobState), longest=8, single=True), None)
    queue: str | None = param(checks.queue_name, None)
    label: Mapping[str, str] | None = param(label_filter, None)
    name: str | None = param(_NAME, None)
    batch: str | None = param(checks.job_id, None)
    since: int | None = param(checks.moment_or_unix, None)
    ended_since: int | None = param(checks.moment_or_unix, None)
    reason: str | None = param(_NAME, None)
    filter: str | None = param(filters.text, None)
    ids: tuple[str, ...] | None = param(checks.selectors, None)
    seqs: tuple[int, ...] | None = param(checks.list_of(checks.integer(1, 2**53), longest=MAX_PAGE), None)
    keys: tuple[str, ...] | None = param(checks.list_of(_job_key, longest=len(KINDS), single=True), None)
    order: str = param(checks.word_of(("oldest", "newest")), "oldest")
    sort: str | None = param(_job_key, None)
    descending: bool = param(checks.boolean, False)
    limit: int = param(checks.integer(1, MAX_PAGE), 1000)
    after: str | None = param(_NAME, None)

    def check_together(self) -> None:
        """Raise BadParams for ids with seqs, or either with sort."""
        if self.ids is not None and self.seqs is not None:
            raise BadParams("ids cannot be combined with seqs", "seqs")
        if self.sort is not None and not (self.ids is None and self.seqs is None):
            raise BadParams("sort cannot be combined with ids or seqs", "sort")


@dataclass(frozen=True, slots=True)
class JobGet(Request):
    """Return one job with its attempts."""

    id: str = param(checks.selector)


class JobExplain(JobGet):
    """Return why a job does not run, its position in line, and its earliest start."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class JobWait(Request):
    """Wait until all jobs have ended (`any`: one of them); without ids, until nothing can run. `timeout`: seconds.

    `limit`: maximum jobs in the answer, 0 for none; `keys`: only these keys of each. `after`: the `next` of an answer,
    to get its next page.
    """

    SPELLINGS: ClassVar = {"id": "ids"}
    ids: tuple[str, ...] | None = param(checks.selectors, None)
    any: bool = param(checks.boolean, False)
    timeout: float | None = param(checks.seconds(zero=True), None)
    keys: tuple[str, ...] | None = param(checks.list_of(_job_key, longest=len(KINDS), single=True), None)
    limit: int = param(checks.integer(0, MAX_PAGE), 1000)
    after: str | None = param(_NAME, None)


@dataclass(frozen=True, slots=True)
class JobLogs(Request):
    """Return a page of a job's output. `attempt`: default: the newest; a negative `offset` counts from the end."""

    id: str = param(checks.selector)
    attempt: int | None = param(checks.integer(1, 2**31), None)
    stream: str | None = param(checks.word_of(("stdout", "stderr")), None)
    offset: int = param(checks.integer(-(2**53), 2**53), 0)
    limit: int = param(checks.integer(1, MAX_LOG_BYTES), 256 * 1024)
    wait: bool = param(checks.boolean, False)


@dataclass(frozen=True, slots=True)
class JobIds(Request):
    """Base of actions on jobs, given by ids or selectors.

    `dry_run`: change nothing, return the same answer. `brief`: return only the `id` and `seq` of each job. `limit`:
    stop after this many jobs; pass the answer's `next` as `after` to continue.
    """

    SPELLINGS: ClassVar = {"id": "ids"}
    ids: tuple[str, ...] = param(checks.selectors)
    dry_run: bool = param(checks.boolean, False)
    brief: bool = param(checks.boolean, False)
    limit: int | None = param(checks.integer(1, MAX_PAGE), None)
    after: str | None = param(_NAME, None)


class JobCancel(JobIds):
    """Cancel waiting or running jobs."""

    __slots__ = ()


class JobPause(JobIds):
    """Pause running jobs: stop all of their processes."""

    __slots__ = ()


class JobResume(JobIds):
    """Resume paused jobs."""

    __slots__ = ()


class JobHold(JobIds):
    """Hold waiting jobs until they are released."""

    __slots__ = ()


class JobRelease(JobIds):
    """Release held jobs."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class JobRetry(JobIds):
    """Run ended jobs again, and failed ones now. `changes` are made to each of them first, as `job.edit` does it."""

    changes: Mapping[str, Any] | None = param(read_changes, None)


class JobRemove(JobIds):
    """Remove jobs that are not running, with their output."""

    __slots__ = ()


def _signal(key: str, value: Any) -> int | str:
    """Check the number or name of a signal."""
    if type(value) is int and 1 <= value <= 64:
        return value
    if isinstance(value, str) and (name := signal_name(value)) is not None:
        return name
    raise bad(key, value, "a signal's name such as TERM or SIGKILL, or its number")


@dataclass(frozen=True, slots=True)
class JobKill(JobIds):
    """Send a signal to all processes of running jobs; retries apply."""

    signal: int | str = param(_signal, "SIGTERM")


@dataclass(frozen=True, slots=True)
class JobSend(Request):
    """Write to the stdin of a running job with `stdin_open`; `eof`: close it."""

    id: str = param(checks.selector)
    data: bytes = param(checks.some_bytes(MAX_SEND_BYTES), b"")
    eof: bool = param(checks.boolean, False)

    def check_together(self) -> None:
        """Raise BadParams without data and eof."""
        if not self.data and not self.eof:
            raise BadParams("nothing to send; expected data, eof, or both", "data")

    def __repr__(self) -> str:
        """Leave out the data, which may be a password."""
        return f"JobSend(id={self.id!r}, data of {len(self.data)} bytes, eof={self.eof})"


@dataclass(frozen=True, slots=True)
class JobEdit(Request):
    """Change a waiting job. `rev`: fail if it was changed since this revision was read."""

    id: str = param(checks.selector)
    changes: Mapping[str, Any] = param(read_changes)
    rev: int | None = param(checks.integer(0, 2**53), None)


@dataclass(frozen=True, slots=True)
class JobMove(Request):
    """Move a waiting job: first, last, before another job, or to another queue."""

    id: str = param(checks.selector)
    first: bool = param(checks.boolean, False)
    last: bool = param(checks.boolean, False)
    before: str | None = param(checks.selector, None)
    queue: str | None = param(checks.queue_name, None)
    dry_run: bool = param(checks.boolean, False)

    def check_together(self) -> None:
        """Raise BadParams unless there is one position, a queue, or both."""
        places = self.first + self.last + (self.before is not None)
        if places > 1 or (not places and self.queue is None):
            raise BadParams("expected one of first, last, before and queue", "id")


REQUESTS: Final[Mapping[str, type[AnyRequest]]] = {
    "hello": Hello,
    "ping": Ping,
    "enqueue": Enqueue,
    "enqueue_many": EnqueueMany,
    "batch.open": BatchOpen,
    "batch.add": BatchAdd,
    "batch.commit": BatchCommit,
    "status": StatusGet,
    "list": ListJobs,
    "job.get": JobGet,
    "job.wait": JobWait,
    "job.logs": JobLogs,
    "job.cancel": JobCancel,
    "job.kill": JobKill,
    "job.pause": JobPause,
    "job.resume": JobResume,
    "job.hold": JobHold,
    "job.release": JobRelease,
    "job.retry": JobRetry,
    "job.remove": JobRemove,
    "job.send": JobSend,
    "job.edit": JobEdit,
    "job.move": JobMove,
    "job.explain": JobExplain,
    "job.prune": JobPrune,
    "dlq.list": DlqList,
    "dlq.retry": DlqRetry,
    "dlq.purge": DlqPurge,
    "config.get": ConfigGet,
    "config.set": ConfigSet,
    "config.list": ConfigList,
    "config.unset": ConfigUnset,
    "queue.list": QueueList,
    "queue.set": QueueSet,
    "queue.pause": QueuePause,
    "queue.resume": QueueResume,
    "queue.remove": QueueRemove,
    "worker.start": WorkerStart,
    "worker.stop": WorkerStop,
    "worker.list": WorkerList,
    "worker.scale": WorkerScale,
    "daemon.info": DaemonInfo,
    "daemon.drain": DaemonDrain,
    "daemon.shutdown": DaemonShutdown,
    "events.subscribe": EventsSubscribe,
}
"""Every method of the wire and the class of its parameters."""
