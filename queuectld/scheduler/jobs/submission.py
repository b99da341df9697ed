"""Converts the job specification of a client to a NewJob: applies settings and defaults, durations in milliseconds."""

import os
import pwd
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from queuectl_client.protocol.attributes import GIVEN, Attribute, Form
from queuectl_client.protocol.jobspec import JobSpec
from queuectl_client.protocol.spelling import hint
from queuectl_client.protocol.submissions import Submitter
from queuectl_client.protocol.vocabulary import ErrorCode
from queuectld.domain.errors import Refused
from queuectld.domain.job import NewJob, Options
from queuectld.domain.resources import VISIBLE_DEVICES, read_supplies, variable
from queuectld.domain.retry import RetryPolicy
from queuectld.store.records import ResolvedSelectors

DEFAULT_QUEUE: Final = "default"
DEFAULT_UMASK: Final = 0o077
JOB_VARIABLES: Final = frozenset(
    {
        "QUEUECTL_JOB_ID",
        "QUEUECTL_ATTEMPT",
        "QUEUECTL_RUN",
        "QUEUECTL_QUEUE",
        "QUEUECTL_WORKER",
        "QUEUECTL_SOCKET",
        "QUEUECTL_ARRAY_INDEX",
    }
)
"""Set anew for each execution; a job that enqueues a job must not hand its own on."""


_FIRST_OPTION: Final = JobSpec._fields.index("name")
_OPTIONS: Final = [GIVEN[key] for key in JobSpec._fields[_FIRST_OPTION:]]
"""The keys of a job that stand in its options; `JobSpec` has them behind the others."""
_SET: Final = [attribute for attribute in _OPTIONS if attribute.setting]
"""Those whose default is a setting."""


class Submission:
    """Makes the jobs of one request, with the effective settings. `setting` returns one by name.

    Consecutive jobs mostly share their options, so those of the previous job are reused.
    """

    def __init__(self, setting: Callable[[str], Any], seen: ResolvedSelectors | None = None) -> None:
        """`seen`: what selectors among `depends_on` were found to name."""
        self._setting = setting
        self._seen = seen or {}
        self._given: tuple[Any, ...] | None = None
        self._submitter: Submitter | None = None
        self._usual: Options | None = None
        self._options: Options | None = None
        self._environment: Mapping[str, str] = {}

    def new_job(self, spec: JobSpec, submitter: Submitter) -> NewJob:
        """The job that `spec` asks for. Refused (invalid_params) for more than there is of a resource."""
        given = spec[_FIRST_OPTION:]
        if self._options is None or submitter is not self._submitter or given != self._given:
            refuse_unmet(spec.slots, spec.needs or {}, self._setting)
            if self._usual is None or submitter is not self._submitter:
                self._usual = _usual(submitter, self._setting)
                self._environment = _environment(submitter.environment, self._setting)
            self._options = _options(given, self._usual, self._setting)
            self._given, self._submitter = given, submitter
        return NewJob(
            spec.command,
            self._options,
            id=spec.id,
            queue=spec.queue or DEFAULT_QUEUE,
            priority=spec.priority or 0,
            delay_ms=milliseconds(spec.delay) or 0,
            run_at_ms=spec.run_at,
            environment=self._environment,
            depends_on=spec.depends_on or (),
            resolved=self._seen if spec.depends_on else {},
            batch=spec.batch,
            hold=bool(spec.hold),
        )


def _usual(submitter: Submitter, setting: Callable[[str], Any]) -> Options:
    """Return the options of a job that specifies none."""
    usual = _fixed() | {attribute.field: decided(attribute, None, setting) for attribute in _SET}
    retry = RetryPolicy(**{field: usual.pop(field) for field in RetryPolicy._fields})
    umask = DEFAULT_UMASK if submitter.umask is None else submitter.umask
    return Options(retry, **{**usual, "cwd": _home()["HOME"], "umask": umask})


@lru_cache(maxsize=1)
def _fixed() -> dict[str, Any]:
    """The defaults that no setting changes."""
    nothing: dict[str, Any] = {}
    return {each.field: decided(each, None, nothing.__getitem__) for each in _OPTIONS if not each.setting}


def _options(given: Sequence[Any], usual: Options, setting: Callable[[str], Any]) -> Options:
    """The options of a job, of which some are given."""
    retry: dict[str, Any] = {}
    options: dict[str, Any] = {}
    for attribute, value in zip(_OPTIONS, given, strict=True):
        if value is not None:
            changed = retry if attribute.field in RetryPolicy._fields else options
            changed[attribute.field] = decided(attribute, value, setting)
    if retry:
        options["retry"] = usual.retry._replace(**retry)
    return usual._replace(**options)


def decided(attribute: Attribute, given: Any, setting: Callable[[str], Any]) -> Any:
    """A checked value, or the default in its place, as the daemon has it: durations in milliseconds."""
    if given is None:
        given = setting(attribute.name) if attribute.setting else attribute.default
    if attribute.form is Form.SECONDS and attribute.field.endswith("_ms"):
        return milliseconds(given)
    if attribute.form is Form.AMOUNTS:
        return dict(sorted(given.items()))
    return given


def queues_of(specs: Iterable[JobSpec]) -> set[str]:
    """Return the queues of these jobs."""
    return {spec.queue or DEFAULT_QUEUE for spec in specs}


def refuse_unmet(slots: int | None, needs: Mapping[str, int], setting: Callable[[str], Any]) -> None:
    """Raise Refused (invalid_params) if a job needs an unknown resource, or more than the total."""
    supplies = read_supplies(setting("resources"))
    for name, much in needs.items():
        supply = supplies.get(name)
        if supply is None:
            known = hint(name, supplies, otherwise=f"defined: {', '.join(supplies) or 'none'}")
            message = f"needs: no such resource: {name!r}{known} (queuectl config set resources {name}=AMOUNT)"
            raise Refused(ErrorCode.INVALID_PARAMS, message, {"key": "needs"})
        if much > supply.amount:
            needed, total = supply.text(much), supply.text(supply.amount)
            message = f"needs: {name}={needed} is more than there is in all, {total} (config resources)"
            raise Refused(ErrorCode.INVALID_PARAMS, message, {"key": "needs"})
    most = setting("slots")
    if slots is not None and most is not None and slots > most:
        message = f"slots: {slots} is more than there are in all, {most} (config slots)"
        raise Refused(ErrorCode.INVALID_PARAMS, message, {"key": "slots"})


def milliseconds(seconds: float | None) -> int | None:
    """Convert seconds to whole milliseconds; a positive value never becomes 0."""
    if seconds is None:
        return None
    return max(round(seconds * 1000), 1 if seconds > 0 else 0)


def _environment(sent: Mapping[str, str] | None, setting: Callable[[str], Any]) -> Mapping[str, str]:
    if sent is None:
        return {**_home(), "PATH": setting("path")}
    if JOB_VARIABLES.isdisjoint(sent):
        return sent
    # Submitted from inside a job, whose own variables must not reach the new job.
    own = JOB_VARIABLES | {variable(name) for name in read_supplies(setting("resources"))}
    if variable("gpu") in sent:
        own |= {VISIBLE_DEVICES}
    return {name: value for name, value in sent.items() if name not in own}


@lru_cache(maxsize=1)
def _home() -> Mapping[str, str]:
    """Return HOME, USER, LOGNAME and SHELL of the daemon's user, from the password database."""
    try:
        entry = pwd.getpwuid(os.getuid())
    except KeyError:
        return {"HOME": "/", "USER": str(os.getuid()), "LOGNAME": str(os.getuid()), "SHELL": "/bin/sh"}
    return {"HOME": entry.pw_dir, "USER": entry.pw_name, "LOGNAME": entry.pw_name, "SHELL": entry.pw_shell}
