"""Requests for operations: dead letter queue, config, queues, workers, daemon, events."""

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
"""Maximum rows scanned for one answer."""
MAX_WORKERS: Final = 1000

_TEXT = checks.text(1024)
_COUNT = checks.integer(1, MAX_WORKERS)
_POOL = checks.integer(1, 2**53)
_KINDS = checks.list_of(checks.word_of(EventKind), longest=64, single=True)
_RATE = re.compile(r"([1-9]\d{0,6})/([smhd])", re.ASCII)


def _rate(key: str, value: Any) -> str:
    """Check a rate: starts per second, minute, hour or day; `none` for no limit."""
    if isinstance(value, str) and (value == "none" or _RATE.fullmatch(value)):
        return value
    raise bad(key, value, "a number of starts and s, m, h or d, such as '10/m', or 'none'")


@dataclass(frozen=True, slots=True)
class Empty(Request):
    """A request without parameters."""


@dataclass(frozen=True, slots=True)
class EndedFilter(Request):
    """Filters for jobs that have ended, all of which must match. Without any, all match.

    `since` (Unix ms): ended since then. `reason`: prefix of their reason, such as `exit 3` or `timeout`.
    """

    queue: str | None = param(checks.queue_name, None)
    label: Mapping[str, str] | None = param(label_filter, None)
    name: str | None = param(_TEXT, None)
    batch: str | None = param(checks.job_id, None)
    since: int | None = param(checks.moment_or_unix, None)
    reason: str | None = param(_TEXT, None)
    filter: str | None = param(filters.text, None)

    @property
    def narrows(self) -> bool:
        """Whether any filter is given."""
        asked = (self.queue, self.label, self.name, self.batch, self.since, self.reason, self.filter)
        return any(value is not None for value in asked)


@dataclass(frozen=True, slots=True)
class DeadFilter(EndedFilter):
    """Filters for dead jobs."""

    SPELLINGS: ClassVar = {"id": "ids", "labels": "label"}
    after: str | None = param(_TEXT, None)


@dataclass(frozen=True, slots=True)
class DlqList(DeadFilter):
    """Return a page of dead jobs; `after`: the `next` of the previous page."""

    limit: int = param(checks.integer(1, MAX_PAGE), 1000)


@dataclass(frozen=True, slots=True)
class DeadJobs(DeadFilter):
    """Base of actions on dead jobs: by ids, all, or by filters. Other parameters are those of JobIds."""

    ids: tuple[str, ...] | None = param(checks.selectors, None)
    all: bool = param(checks.boolean, False)
    dry_run: bool = param(checks.boolean, False)
    brief: bool = param(checks.boolean, False)
    limit: int | None = param(checks.integer(1, MAX_PAGE), None)

    def check_together(self) -> None:
        """Raise BadParams unless there are either ids, or all or filters."""
        if (self.ids is None) is not (self.all or self.narrows):
            raise BadParams("expected either ids, or all or a filter (queue, label, …)", "ids")


@dataclass(frozen=True, slots=True)
class DlqRetry(DeadJobs):
    """Run dead jobs again, at once or spread at a rate such as `10/m`, beginning at once.

    `changes` are applied to each first, as by `job.edit`.
    """

    rate: str | None = param(_rate, None)
    changes: Mapping[str, Any] | None = param(read_changes, None)


@dataclass(frozen=True, slots=True)
class DlqPurge(DeadJobs):
    """Remove dead jobs. `older_than`: only those dead for at least this many seconds."""

    older_than: float | None = param(checks.seconds(zero=True), None)


@dataclass(frozen=True, slots=True)
class JobPrune(EndedFilter):
    """Remove ended jobs of these states, with their output; `older_than`: ended at least this many seconds ago.

    Only those that match all filters. `dry_run`: only count the jobs.
    """

    SPELLINGS: ClassVar = {"labels": "label", "state": "states"}
    states: tuple[str, ...] = param(
        checks.list_of(checks.word_of(sorted(ENDED_STATES)), longest=8, single=True),
        (JobState.COMPLETED, JobState.CANCELLED),
    )
    older_than: float = param(checks.seconds(zero=True), 0)
    dry_run: bool = param(checks.boolean, False)


def _config_key(key: str, value: Any) -> str:
    """Check a config key; return it in snake_case: max_retries for maxRetries and max-retries."""
    name = checks.text(128)(key, value)
    return snake_case(name)


def _scalar(key: str, value: Any) -> str | int | float | bool:
    """Check the type of a value, before the check of its key: a string, a number or a Boolean."""
    if isinstance(value, bool | int | float):
        return value
    return checks.text(4096, empty=True)(key, value)


@dataclass(frozen=True, slots=True)
class ConfigGet(Request):
    """Return one value; without a key, all of them."""

    key: str | None = param(_config_key, None)


@dataclass(frozen=True, slots=True)
class ConfigSet(Request):
    """Set a value; its range depends on the key."""

    key: str = param(_config_key)
    value: str | int | float | bool = param(_scalar)


@dataclass(frozen=True, slots=True)
class ConfigUnset(Request):
    """Reset a value to its default."""

    key: str = param(_config_key)


class ConfigList(Empty):
    """Return all keys, their values, and which are defaults."""

    __slots__ = ()


class QueueList(Empty):
    """Return all queues with their counts and limits."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class QueueSet(Request):
    """Set the limits of a queue; a concurrency or failure limit of 0, or the rate `none`, removes the limit.

    `failure_limit`: this many consecutive failures pause the queue.
    """

    name: str = param(checks.queue_name)
    concurrency: int | None = param(checks.integer(0, 1_000_000), None)
    rate: str | None = param(_rate, None)
    failure_limit: int | None = param(checks.integer(0, 1_000_000), None)


@dataclass(frozen=True, slots=True)
class QueuePause(Request):
    """Start no job of the queue until it is resumed. `wait`: answer once none of its jobs is running."""

    name: str = param(checks.queue_name)
    wait: bool = param(checks.boolean, False)


@dataclass(frozen=True, slots=True)
class QueueResume(Request):
    """Resume a paused queue."""

    name: str = param(checks.queue_name)


@dataclass(frozen=True, slots=True)
class QueueRemove(Request):
    """Remove a queue without jobs, and its limits."""

    name: str = param(checks.queue_name)


@dataclass(frozen=True, slots=True)
class WorkerStart(Request):
    """Start workers. `pool`: reattach to a foreground pool after a restart of the daemon; `job`: run only that job.

    `request`: a repeat reattaches to the foreground pool that the first call started.
    """

    count: int = param(_COUNT, 1)
    detach: bool = param(checks.boolean, False)
    pool: int | None = param(_POOL, None)
    job: str | None = param(checks.selector, None)
    request: str | None = param(checks.request_id, None)

    def check_together(self) -> None:
        """Raise BadParams for `request` without a new foreground pool."""
        if self.request is not None and (self.detach or self.pool is not None or self.job is not None):
            raise BadParams("request cannot be combined with detach, pool or job", "request")


@dataclass(frozen=True, slots=True)
class WorkerStop(Request):
    """Stop workers after their current job: all, `count` of them, or those of a pool. `now`: terminate their jobs."""

    count: int | None = param(_COUNT, None)
    pool: int | None = param(_POOL, None)
    now: bool = param(checks.boolean, False)
    wait: bool = param(checks.boolean, True)


@dataclass(frozen=True, slots=True)
class WorkerScale(Request):
    """Set the number of detached workers; without a count, restore those that `daemon.shutdown` stopped."""

    count: int | None = param(checks.integer(0, MAX_WORKERS), None)


class WorkerList(Empty):
    """Return all workers."""

    __slots__ = ()


class Ping(Empty):
    """Do nothing. Answered at once, out of order, to show that the daemon responds."""

    __slots__ = ()


class DaemonInfo(Empty):
    """Return the pid, version and file locations of the daemon."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class DaemonDrain(Request):
    """Stop starting jobs; `resume`: start them again."""

    resume: bool = param(checks.boolean, False)


@dataclass(frozen=True, slots=True)
class DaemonShutdown(Request):
    """Drain the workers, then exit. `now`: terminate running jobs."""

    now: bool = param(checks.boolean, False)


@dataclass(frozen=True, slots=True)
class EventsSubscribe(Request):
    """Send events from `since` on (default: from now on) that match all given filters."""

    since: int | None = param(checks.integer(0, 2**53), None)
    kinds: tuple[EventKind, ...] | None = param(_KINDS, None)
    job: str | None = param(checks.selector, None)
    queue: str | None = param(checks.queue_name, None)
    pool: int | None = param(_POOL, None)
