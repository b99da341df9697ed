"""The requests that add jobs: one, many, and batches of more than one message holds.

The job's own keys are checked by JobSpec; here are those that come with it: the submitter's environment and umask,
the defaults laid under many jobs, and the request id that makes a repeat harmless.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Self

from queuectl_client.protocol import checks
from queuectl_client.protocol.checks import BadParams, bad
from queuectl_client.protocol.jobspec import JobSpec, read_keys
from queuectl_client.protocol.message import Request, param

MAX_JOBS: Final = 10_000
"""Jobs of one call: they are checked and stored in one go, and no other client may wait longer than 100 ms."""

_UMASK = checks.integer(0, 0o777)


class Submitter(NamedTuple):
    """What a job inherits from who submitted it; None where the daemon is to fill it in."""

    environment: Mapping[str, str] | None = None
    umask: int | None = None

    def __repr__(self) -> str:
        """Without the environment, which often holds secrets."""
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
        """The checked request. Raises BadParams."""
        keys = dict(params)
        request = _optional(checks.request_id, "request", keys.pop("request", None))
        return cls(JobSpec.from_map(keys), _submitter(keys, NOBODY), request)


class Jobs(NamedTuple):
    """Checked jobs and, one for one, who submitted them."""

    specs: tuple[JobSpec, ...]
    submitters: tuple[Submitter, ...]


class Defaults:
    """The keys laid under every job of a call or batch, checked once however many jobs there are."""

    __slots__ = ("_submitter", "_values")

    def __init__(self, defaults: Mapping[str, Any] | None = None) -> None:
        """Raises BadParams for a key or value that no job may have."""
        keys = {} if defaults is None else _as_map("defaults", defaults)
        self._values = read_keys(keys)
        self._submitter = _submitter(keys, NOBODY)

    @property
    def depends_on(self) -> tuple[tuple[str, str], ...]:
        """What every job waits for that says nothing else."""
        return self._values.get("depends_on") or ()

    def under(self, jobs: Any) -> Jobs:
        """The checked jobs, each with these defaults under it.

        Raises BadParams for a bad job; its sentence begins with `job 3: ` and its data has the index, from 0.
        """
        (whole,) = self.slices(jobs, MAX_JOBS)
        return whole

    def slices(self, jobs: Any, size: int) -> Iterator[Jobs]:
        """Like `under`, so many jobs at a time: to check 10,000 of them takes some 50 ms."""
        if not isinstance(jobs, list | tuple) or not jobs:
            raise bad("jobs", jobs, "a list of at least one job")
        if len(jobs) > MAX_JOBS:
            raise BadParams(f"jobs has {len(jobs):,} jobs, but at most {MAX_JOBS:,} are allowed in one call", "jobs")
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
        # A job's own time takes the place of the default one, whichever of the two keys says it.
        if "run_at" in values and "delay" not in values:
            merged.pop("delay", None)
        elif "delay" in values and "run_at" not in values:
            merged.pop("run_at", None)
        return JobSpec.of(merged)


@dataclass(frozen=True, slots=True)
class EnqueueMany:
    """Store all of the jobs or none. A job in `submitters` is at the place of its spec in `specs`."""

    specs: tuple[JobSpec, ...]
    submitters: tuple[Submitter, ...]
    request: str | None = None

    @classmethod
    def from_map(cls, params: Mapping[str, Any]) -> Self:
        """The checked request of `{jobs, defaults, request}`. Raises BadParams."""
        _only(params, "jobs", "defaults", "request")
        request = _optional(checks.request_id, "request", params.get("request"))
        specs, submitters = Defaults(params.get("defaults")).under(params.get("jobs"))
        return cls(specs, submitters, request)


@dataclass(frozen=True, slots=True)
class BatchOpen:
    """Begin a batch. `defaults` are laid under every job added to it."""

    defaults: Defaults = field(default_factory=Defaults)

    @classmethod
    def from_map(cls, params: Mapping[str, Any]) -> Self:
        """The checked request of `{defaults}`. Raises BadParams."""
        _only(params, "defaults")
        return cls(Defaults(params.get("defaults")))


@dataclass(frozen=True, slots=True)
class BatchAdd:
    """Add jobs to an open batch. They stay as they came until the batch's defaults are laid under them."""

    token: str
    jobs: Any = field(repr=False)

    @classmethod
    def from_map(cls, params: Mapping[str, Any]) -> Self:
        """The request of `{token, jobs}`. Raises BadParams; the jobs are checked by `under`."""
        _only(params, "token", "jobs")
        return cls(checks.text(128)("token", params.get("token")), params.get("jobs"))

    def under(self, defaults: Defaults) -> Jobs:
        """The checked jobs with the batch's defaults under them. Raises BadParams, as `Defaults.under` does."""
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
