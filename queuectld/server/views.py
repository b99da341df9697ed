"""Converts the daemon's objects to wire maps. Pure functions.

Times become ISO 8601 UTC with milliseconds, durations become seconds, worker numbers `w12`, and missing values nil.
Keys may be added but not removed. Values of environment variables and stdin of jobs are never included.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final

from queuectl_client.protocol.attributes import ATTRIBUTES, KINDS, SHOWN, Form, ValueKind
from queuectl_client.protocol.vocabulary import JobState
from queuectld.domain.job import Attempt, Job, Options
from queuectld.domain.retry import RetryPolicy
from queuectld.scheduler.hints import Hint
from queuectld.scheduler.jobs.bulk import BulkResult
from queuectld.scheduler.jobs.service import Status
from queuectld.scheduler.jobs.wait_calls import WaitPage
from queuectld.scheduler.service import WorkerDescription
from queuectld.scheduler.settings import SettingValue
from queuectld.store.records import Added, AddedOne, Event, Explanation, QueueRow, Rows

JobMap = dict[str, Any]

STATE_OF_KIND: Final[Mapping[str, str]] = {f"job.{state}": str(state) for state in JobState}
"""The new state of the job, by event kind."""


def iso(ms: int | None) -> str | None:
    """Format Unix time in milliseconds as `2026-11-24T03:08:02.123Z`."""
    if ms is None:
        return None
    return f"{_iso_second(ms // 1000)}.{ms % 1000:03d}Z"


def seconds(ms: int | None) -> int | float | None:
    """Convert milliseconds to seconds; an int if it is whole."""
    if ms is None:
        return None
    return ms / 1000 if ms % 1000 else ms // 1000


def number(value: float) -> int | float:
    """Convert a whole float to int: 2 instead of 2.0."""
    return int(value) if value == int(value) else value


def worker_id(number: int | None) -> str | None:
    """Return the name of a worker, such as `w12`."""
    return None if number is None else f"w{number}"


_SHAPES: Final[Mapping[str, Callable[[Any], Any]]] = {
    Form.STATE: str,
    Form.TIME: iso,
    Form.SECONDS: seconds,
    Form.NUMBER: number,
    Form.WORKER: worker_id,
    Form.CODES: list,
}
"""Conversions of attribute values by form; values of other forms are unchanged."""
_SHAPED: Final[Mapping[str, Callable[[Any], Any]]] = {
    "command": lambda command: command if isinstance(command, str) else list(command),
    "depends_on": lambda parents: [{"id": parent, "on": on} for parent, on in parents],
    "backoff_max": number,
    "granted": lambda granted: {name: list(numbers) for name, numbers in granted.items()},
    "env_names": sorted,
    "stdin_bytes": lambda text: len(text.encode("utf-8", "surrogateescape")),
}
_FROM: Final[Mapping[str, str]] = {"env_names": "env", "stdin_bytes": "stdin"}
"""Wire keys whose attribute has another name."""
_OF_JOB: Final = Job._fields
_OF_OPTIONS: Final = (*Options._fields, *RetryPolicy._fields)


def _field(key: str) -> str:
    return _FROM.get(key, key if key in ("hold", "rev") else ATTRIBUTES[key].field)


def _shapes(fields: Sequence[str]) -> Sequence[tuple[int, Callable[[Any], Any]]]:
    """Return the conversions of these fields, with their positions."""
    shapes = {_field(key): _SHAPED.get(key) or _SHAPES.get(ATTRIBUTES[key].form) for key in SHOWN}
    return [(place, shape) for place, field in enumerate(fields) if (shape := shapes.get(field)) is not None]


_JOB_SHAPES: Final = _shapes(_OF_JOB)
_OPTION_SHAPES: Final = _shapes(Options._fields)
_RETRY_SHAPES: Final = _shapes(RetryPolicy._fields)
_ALL: Final = (*_OF_JOB, *_OF_OPTIONS, "hold", "rev")
_pick: Final = itemgetter(*(_ALL.index(_field(key)) for key in SHOWN))


def job_view(job: Job) -> JobMap:
    """Return the map of a job, without attempts."""
    return _job_view(job, _shaped_options(job.options))


def _shaped_options(options: Options) -> Sequence[Any]:
    values = list(options)
    for place, shape in _OPTION_SHAPES:
        if values[place] is not None:
            values[place] = shape(values[place])
    return [*values, *_shaped_retry(options.retry)]


@lru_cache(maxsize=256)
def _shaped_retry(retry: RetryPolicy) -> Sequence[Any]:
    values = list(retry)
    for place, shape in _RETRY_SHAPES:
        values[place] = shape(values[place])
    return values


def _job_view(job: Job, options: Sequence[Any]) -> JobMap:
    values = list(job)
    for place, shape in _JOB_SHAPES:
        if values[place] is not None:
            values[place] = shape(values[place])
    held = job.state is JobState.HELD
    return dict(zip(SHOWN, _pick((*values, *options, held, job.updated_ms)), strict=True))


def waited_view(waited: WaitPage, keys: Sequence[str] | None) -> dict[str, Any]:
    """Return the answer of a wait: counts by state, the first failure, and a page of the jobs."""
    ends, page = waited.ends, waited.page
    return {
        "done": ends.done,
        "count": sum(ends.counts.values()),
        "counts": {str(state): count for state, count in ends.counts.items()},
        "first_failure": None if ends.first_failure is None else job_view(ends.first_failure),
        "jobs": row_views(keys or (), page.rows) if isinstance(page, Rows) else job_views(page.jobs),
        "next": waited.next,
    }


def added_view(added: AddedOne, hint: Hint) -> JobMap:
    """Return the answer to a request with one job; `skipped` and `replaced` only if its unique key was in use."""
    view = job_view(added.job) | {"hint": hint._asdict()}
    if added.skipped:
        view["skipped"] = True
    if added.replaced is not None:
        view["replaced"] = added.replaced
    return view


def many_view(added: Added, hint: Hint | None = None) -> dict[str, Any]:
    """Return the answer to a request with several jobs, in their order. `skipped`: positions of existing jobs."""
    view: dict[str, Any] = {"ids": list(added.ids), "seqs": list(added.seqs)}
    if added.skipped:
        view["skipped"] = list(added.skipped)
    if hint is not None:
        view["hint"] = hint._asdict()
    return view


def job_views(jobs: Iterable[Job]) -> list[JobMap]:
    """Return the maps of several jobs. Jobs of a page mostly share their options, which are converted once."""
    views: list[JobMap] = []
    options, shaped = None, ()
    for job in jobs:
        if job.options is not options:
            options, shaped = job.options, tuple(_shaped_options(job.options))
        views.append(_job_view(job, shaped))
    return views


def row_views(keys: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[JobMap]:
    """Return selected keys of several jobs, as in `job_view`; `duration` and `age` are in seconds."""
    shapes = [(place, shape) for place, key in enumerate(keys) if (shape := _ROW_SHAPES[key]) is not None]
    shown = []
    for row in rows:
        values = list(row)
        for place, shape in shapes:
            if values[place] is not None:
                values[place] = shape(values[place])
        shown.append(dict(zip(keys, values, strict=True)))
    return shown


_ROW_SHAPES: Final[Mapping[str, Callable[[Any], Any] | None]] = {
    key: bool if kind is ValueKind.FLAG else number if key == "backoff_max" else _SHAPES.get(ATTRIBUTES[key].form)
    for key, kind in KINDS.items()
}
"""Conversions for rows of selected keys, whose values come as stored: true is 1."""


def changed_view(changed: BulkResult) -> dict[str, Any]:
    """Return the result of a bulk change. `count`: all jobs; `jobs`: the first; `selected`: those not given by id."""
    return {
        "jobs": [job_view(job) if isinstance(job, Job) else job._asdict() for job in changed.jobs],
        "count": changed.total,
        "selected": changed.selected,
        "left_out": [left._asdict() for left in changed.left_out],
        "next": changed.next,
        "dependents": changed.dependents._asdict(),
    }


def explanation_view(told: Explanation) -> dict[str, Any]:
    """Return why a job is not running. `position` is a minimum if `position_exact` is false."""
    return {
        "job": told.id,
        "state": str(told.state),
        "rules": [
            {"rule": rule.rule, "text": rule.words, "until": iso(rule.until_ms), "jobs": list(rule.jobs)}
            for rule in told.rules
        ],
        "position": told.position,
        "position_exact": told.exact,
        "starts_at": iso(told.starts_ms),
    }


def attempt_view(number: int, attempt: Attempt) -> dict[str, Any]:
    """Return an ended attempt. `user_time` and `system_time` are in seconds, from wait4(2)."""
    outputs = attempt.output.values()
    return {
        "run": attempt.run,
        "attempt": number,
        "worker": worker_id(attempt.worker),
        "host": attempt.host,
        "started_at": iso(attempt.started_ms),
        "finished_at": iso(attempt.finished_ms),
        "duration": seconds(attempt.duration_ms),
        "exit_code": attempt.exit_code,
        "signal": attempt.signal,
        "reason": attempt.reason,
        "reason_code": attempt.reason_code,
        "crashed": attempt.crashed,
        "pid": attempt.pid,
        "user_time": None if attempt.user_us is None else attempt.user_us / 1_000_000,
        "system_time": None if attempt.system_us is None else attempt.system_us / 1_000_000,
        "max_rss_kib": attempt.max_rss_kib,
        "left_behind": attempt.left_behind,
        "output_bytes": sum(out.size for out in outputs),
        "output_dropped": sum(out.dropped for out in outputs),
    }


def job_with_attempts(job: Job, attempts: Sequence[Attempt]) -> JobMap:
    """Return the map of a job with its attempts, oldest first."""
    told = [attempt_view(number, attempt) for number, attempt in enumerate(attempts, 1)]
    return job_view(job) | {"attempts_list": told}


def event_view(event: Event) -> dict[str, Any]:
    """Return an event without keys that do not apply. `state` is the new state of the job, if it changed."""
    told: dict[str, Any] = {
        "event_seq": event.event_seq,
        "time": iso(event.time_ms),
        "kind": str(event.kind),
        "job": event.job_id,
        "seq": event.seq,
        "queue": event.queue,
        "state": STATE_OF_KIND.get(event.kind),
        "run": event.run,
        "worker": worker_id(event.worker),
    }
    for key, value in event.detail.items():
        if key.endswith("_at_ms"):
            told[key.removesuffix("_ms")] = iso(value)
        elif key.endswith("_ms"):
            told[key.removesuffix("_ms")] = seconds(value)
        else:
            told[key] = value
    return {key: value for key, value in told.items() if value is not None}


def status_view(status: Status, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answer of `status`: counts of all states, including 0, and the description of the daemon."""
    return {
        "counts": {str(state): status.counts.get(state, 0) for state in JobState},
        "workers": status.workers,
        "paused": list(status.paused),
        "event_seq": status.event_seq,
        **{key: facts[key] for key in ("pid", "version", "uptime_s", "draining") if key in facts},
    }


def facts_view(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the description of the daemon. In `facts`, `started_at` is Unix time in seconds."""
    return {**facts, "started_at": iso(round(facts["started_at"] * 1000))}


def setting_view(setting: SettingValue) -> dict[str, Any]:
    """Return a setting. `default`: it is not set."""
    return {"key": setting.key, "value": setting.value, "default": setting.is_default}


def queue_views(rows: Iterable[QueueRow]) -> list[dict[str, Any]]:
    """Return queues with their limits and counts of all states, including 0."""
    return [
        {
            "name": row.name,
            "paused": row.paused,
            "reason": row.paused_because,
            "concurrency": row.concurrency,
            "rate": row.rate,
            "failure_limit": row.failure_limit,
            "failures": row.failures,
            "counts": {str(state): row.counts.get(state, 0) for state in JobState},
            "ready": row.ready,
        }
        for row in rows
    ]


def worker_views(workers: Iterable[WorkerDescription]) -> list[dict[str, Any]]:
    """Return workers with their state and job."""
    return [
        {
            "id": worker.id,
            "number": worker.number,
            "pid": worker.pid,
            "state": str(worker.state),
            "job": worker.job,
            "pool": {"id": worker.pool.id, "kind": worker.pool.kind},
            "since": iso(worker.since_ms),
            "jobs_done": worker.jobs_done,
        }
        for worker in workers
    ]


@lru_cache(maxsize=8192)
def _iso_second(second: int) -> str:
    # Times of a page are often in the same second, which is formatted once.
    at = time.gmtime(second)
    return f"{at.tm_year:04d}-{time.strftime('%m-%dT%H:%M:%S', at)}"  # strftime does not pad years before 1000
