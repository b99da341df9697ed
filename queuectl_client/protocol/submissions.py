"""Requests that add jobs: one, many, and batches of several messages.

JobSpec checks the keys of a job; these classes check the parameters beside it: the submitter's environment and umask,
the defaults of many jobs, and the request id that makes a repeat safe.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Self

from queuectl_client.protocol import checks
from queuectl_client.protocol.checks import BadParams, bad
from queuectl_client.protocol.jobspec import JobSpec, read_keys
from queuectl_client.protocol.message import Request, param

MAX_JOBS: Final = 10_000
"""Maximum jobs in one call: they are checked and stored in one step, which must not delay other clients over 100 ms."""

_UMASK = checks.integer(0, 0o777)


class Submitter(NamedTuple):
    """What a job inherits from its submitter; None: the daemon fills it in."""

    environment: Mapping[str, str] | None = None
    umask: int | None = None

    def __repr__(self) -> str:
        """Leave out the environment, which may hold secrets."""
        return f"Submitter(umask={self.umask})"


NOBODY: Final = Submitter()


@dataclass(frozen=True, slots=True)
class Enqueue:
    """Store one job. `request`: a repeat within a day returns the first answer."""

    spec: JobSpec
    submitter: Submitter = NOBODY
    request: str | None = None

    @property
    def environment(self) -> Mapping[str, str] | None:
        """The submitter's whole environment."""
        return self.submitter.environment

    @property
    def umask(self) -> int | None:
        """The submitter's umask."""
        return self.submitter.umask

    @classmethod
    def from_map(cls, params: Mapping[str, Any]) -> Self:
        """Return the checked request. Raise BadParams."""
        keys = dict(params)
        request = _optional(checks.request_id, "request", keys.pop("request", None))
        return cls(JobSpec.from_map(keys), _submitter(keys, NOBODY), request)


class Jobs(NamedTuple):
    """Checked jobs and their submitters, in the same order."""

    specs: tuple[JobSpec, ...]
    submitters: tuple[Submitter, ...]


class Defaults:
    """Default keys of every job of a call or batch, checked once for all jobs."""

    __slots__ = ("_submitter", "_values")

    def __init__(self, defaults: Mapping[str, Any] | None = None) -> None:
        """Raise BadParams for an invalid key or value."""
        keys = {} if defaults is None else _as_map("defaults", defaults)
        self._values = read_keys(keys)
        self._submitter = _submitter(keys, NOBODY)

    @property
    def depends_on(self) -> tuple[tuple[str, str], ...]:
        """The dependencies of every job without its own."""
        return self._values.get("depends_on") or ()

    def under(self, jobs: Any) -> Jobs:
        """Return the checked jobs with these defaults applied.

        Raise BadParams for an invalid job; its message begins with `job 3: ` and its data has the index, from 0.
        """
        (whole,) = self.slices(jobs, MAX_JOBS)
        return whole

    def slices(self, jobs: Any, size: int) -> Iterator[Jobs]:
        """Like `under`, in slices of `size` jobs, because checking 10,000 takes about 50 ms."""
        if not isinstance(jobs, list | tuple) or not jobs:
            raise bad("jobs", jobs, "a list of at least one job")
        if len(jobs) > MAX_JOBS:
            raise BadParams(f"jobs has {len(jobs):,} jobs; at most {MAX_JOBS:,} are allowed in one call", "jobs")
        for start in range(0, len(jobs), size):
            yield self._under(jobs[start : start + size], start)

    def _under(self, jobs: Sequence[Any], first: int) -> Jobs:
        specs, submitters = [], []
        for index, job in enumerate(jobs, first):
            try:
                specs.append(self._spec(job))
                submitters.append(_submitter(job, self._submitter))
            except BadParams as error:
                data = {"key": error.key, "index": index}
                raise BadParams(f"job {index + 1}: {error.message}", error.key, data) from None
        return Jobs(tuple(specs), tuple(submitters))

    def _spec(self, job: Any) -> JobSpec:
        values = read_keys(job)
        if not self._values:
            return JobSpec.of(values)
        merged = self._values | values
        # The time of a job, in either key, replaces the default one, in either key.
        if "run_at" in values and "delay" not in values:
            merged.pop("delay", None)
        elif "delay" in values and "run_at" not in values:
            merged.pop("run_at", None)
        return JobSpec.of(merged)


@dataclass(frozen=True, slots=True)
class EnqueueMany:
    """Store all of the jobs or none. `submitters` are in the order of `specs`."""

    specs: tuple[JobSpec, ...]
    submitters: tuple[Submitter, ...]
    request: str | None = None

    @classmethod
    def from_map(cls, params: Mapping[str, Any]) -> Self:
        """Return the checked request of `{jobs, defaults, request}`. Raise BadParams."""
        _only(params, "jobs", "defaults", "request")
        request = _optional(checks.request_id, "request", params.get("request"))
        specs, submitters = Defaults(params.get("defaults")).under(params.get("jobs"))
        return cls(specs, submitters, request)


@dataclass(frozen=True, slots=True)
class BatchOpen:
    """Open a batch. `defaults` are default keys of all its jobs."""

    defaults: Defaults = field(default_factory=Defaults)

    @classmethod
    def from_map(cls, params: Mapping[str, Any]) -> Self:
        """Return the checked request of `{defaults}`. Raise BadParams."""
        _only(params, "defaults")
        return cls(Defaults(params.get("defaults")))


@dataclass(frozen=True, slots=True)
class BatchAdd:
    """Add jobs to an open batch. They are checked once the batch's defaults are applied."""

    token: str
    jobs: Any = field(repr=False)

    @classmethod
    def from_map(cls, params: Mapping[str, Any]) -> Self:
        """Return the request of `{token, jobs}`. Raise BadParams; `under` checks the jobs."""
        _only(params, "token", "jobs")
        return cls(checks.text(128)("token", params.get("token")), params.get("jobs"))

    def under(self, defaults: Defaults) -> Jobs:
        """Return the checked jobs with the batch's defaults applied. Raise BadParams like `Defaults.under`."""
        return defaults.under(self.jobs)


@dataclass(frozen=True, slots=True)
class BatchCommit(Request):
    """Make all jobs of a batch visible at once."""

    token: str = param(checks.text(128))
    request: str | None = param(checks.request_id, None)


def _submitter(keys: Mapping[str, Any], default: Submitter) -> Submitter:
    environment, umask = keys.get("environment"), keys.get("umask")
    if environment is None and umask is None:
        return default
    return Submitter(
        default.environment if environment is None else checks.environment("environment", environment),
        default.umask if umask is None else _UMASK("umask", umask),
    )


def _as_map(key: str, value: Any) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    raise bad(key, value, "a map")


def _optional(check: checks.Check[str], key: str, value: Any) -> str | None:
    return None if value is None else check(key, value)


def _only(params: Mapping[str, Any], *known: str) -> None:
    for key in params:
        if key not in known:
            raise checks.unknown("parameter", key, known)
