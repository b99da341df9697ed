"""The requests of operating a queue: dead letter queue, config, queues, workers, the daemon, events."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from queuectl_client.protocol import checks, filters
from queuectl_client.protocol.checks import BadParams, bad
from queuectl_client.protocol.jobspec import label_filter, read_changes
from queuectl_client.protocol.message import Request, param
from queuectl_client.protocol.spelling import snake_case
from queuectl_client.protocol.vocabulary import ENDED_STATES, EventKind, JobState

MAX_PAGE: Final = 5000
"""Rows looked at for one answer."""
MAX_WORKERS: Final = 1000

_TEXT = checks.text(1024)
_COUNT = checks.integer(1, MAX_WORKERS)
_POOL = checks.integer(1, 2**53)
_KINDS = checks.list_of(checks.word_of(EventKind), longest=64, single=True)
_RATE = re.compile(r"([1-9]\d{0,6})/([smhd])", re.ASCII)


def _rate(key: str, value: Any) -> str:
    """So many starts in a second, minute, hour or day; `none` for no limit."""
    if isinstance(value, str) and (value == "none" or _RATE.fullmatch(value)):
        return value
    raise bad(key, value, "a number of starts and s, m, h or d, such as '10/m', or 'none'")


@dataclass(frozen=True, slots=True)
class Empty(Request):
    """A request without parameters."""


@dataclass(frozen=True, slots=True)
class DeadFilter(Request):
    """Which of the dead jobs; everything given must hold. None given: all of them.

    `since` (Unix ms): dead since then. `reason`: what their reason begins with, such as `exit 3` or `timeout`.
    """

    SPELLINGS: ClassVar = {"id": "ids", "labels": "label"}
    queue: str | None = param(checks.queue_name, None)
    label: Mapping[str, str] | None = param(label_filter, None)
    name: str | None = param(_TEXT, None)
    batch: str | None = param(checks.job_id, None)
    since: int | None = param(checks.moment_or_unix, None)
    reason: str | None = param(_TEXT, None)
    filter: str | None = param(filters.text, None)
    after: str | None = param(_TEXT, None)

    @property
    def narrows(self) -> bool:
        """Whether anything but all is asked for."""
        asked = (self.queue, self.label, self.name, self.batch, self.since, self.reason, self.filter)
        return any(value is not None for value in asked)


@dataclass(frozen=True, slots=True)
class DlqList(DeadFilter):
    """A page of dead jobs; `after` is the `next` of the page before."""

    limit: int = param(checks.integer(1, MAX_PAGE), 1000)


@dataclass(frozen=True, slots=True)
class DeadJobs(DeadFilter):
    """Something that is done to dead jobs: those named, all, or those that a filter fits. The rest as for `job.*`."""

    ids: tuple[str, ...] | None = param(checks.selectors, None)
    all: bool = param(checks.boolean, False)
    dry_run: bool = param(checks.boolean, False)
    brief: bool = param(checks.boolean, False)
    limit: int | None = param(checks.integer(1, MAX_PAGE), None)

    def check_together(self) -> None:
        """Ids, or all that the filter fits; not both and not neither."""
        if (self.ids is None) is not (self.all or self.narrows):
            raise BadParams("give ids or all or a filter (queue, label, …), and not both", "ids")


@dataclass(frozen=True, slots=True)
class DlqRetry(DeadJobs):
    """Run dead jobs again, at once or evenly at a rate such as `10/m`, the first one at once.

    `changes` are made to each of them first, as `job.edit` does it.
    """

    rate: str | None = param(_rate, None)
    changes: Mapping[str, Any] | None = param(read_changes, None)


@dataclass(frozen=True, slots=True)
class DlqPurge(DeadJobs):
    """Forget dead jobs. `older_than`: only those that have been dead for so many seconds."""

    older_than: float | None = param(checks.seconds(zero=True), None)


@dataclass(frozen=True, slots=True)
class JobPrune(Request):
    """Forget ended jobs of these states, with their output; `older_than`: that ended so many seconds ago, or more.

    Of these those that pass all filters, `since` (ended since then) and `reason` as with `dlq.list`. `dry_run`: only
    count them.
    """

    SPELLINGS: ClassVar = {"labels": "label", "state": "states"}
    states: tuple[str, ...] = param(
        checks.list_of(checks.word_of(sorted(ENDED_STATES)), longest=8, single=True),
        (JobState.COMPLETED, JobState.CANCELLED),
    )
    older_than: float = param(checks.seconds(zero=True), 0)
    dry_run: bool = param(checks.boolean, False)
    queue: str | None = param(checks.queue_name, None)
    label: Mapping[str, str] | None = param(label_filter, None)
    name: str | None = param(_TEXT, None)
    batch: str | None = param(checks.job_id, None)
    since: int | None = param(checks.moment_or_unix, None)
    reason: str | None = param(_TEXT, None)
    filter: str | None = param(filters.text, None)

    @property
    def narrows(self) -> bool:
        """Whether anything but states and age is asked for."""
        asked = (self.queue, self.label, self.name, self.batch, self.since, self.reason, self.filter)
        return any(value is not None for value in asked)


def _config_key(key: str, value: Any) -> str:
    """A key of the config, in its one spelling: max_retries for maxRetries and max-retries."""
    name = checks.text(128)(key, value)
    return snake_case(name)


def _scalar(key: str, value: Any) -> str | int | float | bool:
    """A value before its own key's check: text, a number, or true or false."""
    if isinstance(value, bool | int | float):
        return value
    return checks.text(4096, empty=True)(key, value)


@dataclass(frozen=True, slots=True)
class ConfigGet(Request):
    """One value, or without a key all of them."""

    key: str | None = param(_config_key, None)


@dataclass(frozen=True, slots=True)
class ConfigSet(Request):
    """Set a value; the range is that of its key."""

    key: str = param(_config_key)
    value: str | int | float | bool = param(_scalar)


@dataclass(frozen=True, slots=True)
class ConfigUnset(Request):
    """Back to the default."""

    key: str = param(_config_key)


class ConfigList(Empty):
    """All keys, their values, and which are defaults."""

    __slots__ = ()


class QueueList(Empty):
    """All queues with their counts and limits."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class QueueSet(Request):
    """Set the limits of a queue; a concurrency or failure limit of 0 and the rate `none` are no limit.

    `failure_limit`: so many executions that fail one after the other pause the queue.
    """

    name: str = param(checks.queue_name)
    concurrency: int | None = param(checks.integer(0, 1_000_000), None)
    rate: str | None = param(_rate, None)
    failure_limit: int | None = param(checks.integer(0, 1_000_000), None)


@dataclass(frozen=True, slots=True)
class QueuePause(Request):
    """Start no job of the queue until it is resumed. `wait`: answered once none of it runs any more."""

    name: str = param(checks.queue_name)
    wait: bool = param(checks.boolean, False)


@dataclass(frozen=True, slots=True)
class QueueResume(Request):
    """Start its jobs again."""

    name: str = param(checks.queue_name)


@dataclass(frozen=True, slots=True)
class QueueRemove(Request):
    """Remove a queue that has no jobs, with its limits."""

    name: str = param(checks.queue_name)


@dataclass(frozen=True, slots=True)
class WorkerStart(Request):
    """Start workers. `pool`: take up one's own pool again after the daemon restarted; `job`: for that job alone.

    `request`: a repeat takes up the foreground pool that the first one began.
    """

    count: int = param(_COUNT, 1)
    detach: bool = param(checks.boolean, False)
    pool: int | None = param(_POOL, None)
    job: str | None = param(checks.selector, None)
    request: str | None = param(checks.request_id, None)

    def check_together(self) -> None:
        """Only of a new pool in the foreground is it remembered which request began it."""
        if self.request is not None and (self.detach or self.pool is not None or self.job is not None):
            raise BadParams("request goes with a new foreground pool: without detach, pool and job", "request")


@dataclass(frozen=True, slots=True)
class WorkerStop(Request):
    """End workers once their job has ended: all, `count` of them, or those of a pool. `now`: end their jobs too."""

    count: int | None = param(_COUNT, None)
    pool: int | None = param(_POOL, None)
    now: bool = param(checks.boolean, False)
    wait: bool = param(checks.boolean, True)


@dataclass(frozen=True, slots=True)
class WorkerScale(Request):
    """Set the number of detached workers; without a count, start those that `daemon.shutdown` sent home."""

    count: int | None = param(checks.integer(0, MAX_WORKERS), None)


class WorkerList(Empty):
    """All workers."""

    __slots__ = ()


class Ping(Empty):
    """Nothing. Answered at once, whatever else is under way: a sign of life."""

    __slots__ = ()


class DaemonInfo(Empty):
    """Who the daemon is and where its files are."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class DaemonDrain(Request):
    """Claim no more jobs; `resume`: claim them again."""

    resume: bool = param(checks.boolean, False)


@dataclass(frozen=True, slots=True)
class DaemonShutdown(Request):
    """Drain the workers, then exit. `now`: end running jobs too."""

    now: bool = param(checks.boolean, False)


@dataclass(frozen=True, slots=True)
class EventsSubscribe(Request):
    """Tell events from `since` on (absent: from now on), only those that match every filter given."""

    since: int | None = param(checks.integer(0, 2**53), None)
    kinds: tuple[EventKind, ...] | None = param(_KINDS, None)
    job: str | None = param(checks.selector, None)
    queue: str | None = param(checks.queue_name, None)
    pool: int | None = param(_POOL, None)
