"""From what a client asked for to a job with everything decided: settings filled in, durations in milliseconds."""

import os
import pwd
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from queuectl_client.protocol.jobspec import JobSpec
from queuectl_client.protocol.spelling import hint
from queuectl_client.protocol.submissions import Submitter
from queuectl_client.protocol.vocabulary import ErrorCode
from queuectld.domain.errors import Refused
from queuectld.domain.job import NewJob
from queuectld.domain.resources import VISIBLE_DEVICES, read_supplies, variable
from queuectld.domain.retry import RetryPolicy
from queuectld.store.records import SeenBy

DEFAULT_QUEUE: Final = "default"
DEFAULT_UMASK: Final = 0o077
JOB_VARIABLES: Final = frozenset({
    "QUEUECTL_JOB_ID",
    "QUEUECTL_ATTEMPT",
    "QUEUECTL_RUN",
    "QUEUECTL_QUEUE",
    "QUEUECTL_WORKER",
    "QUEUECTL_SOCKET",
    "QUEUECTL_ARRAY_INDEX",
})
"""Set anew for each execution; a job that enqueues a job must not hand its own on."""


class Submission:
    """Makes the jobs of one request, with the settings in force at the moment; see `new_job`.

    Jobs that follow one another are mostly alike but for their command, so what was worked out for one serves the next.
    """

    def __init__(self, setting: Callable[[str], Any], seen: SeenBy | None = None) -> None:
        self._setting = setting
        self._seen = seen
        self._rest: tuple[Any, ...] | None = None
        self._submitter: Submitter | None = None
        self._new: NewJob | None = None

    def new_job(self, spec: JobSpec, submitter: Submitter) -> NewJob:
        """As the function."""
        rest = spec[1:]
        if self._new is not None and submitter is self._submitter and rest == self._rest:
            return NewJob(spec.command, *self._new[1:])
        self._new = new_job(spec, submitter, self._setting, self._seen)
        self._rest, self._submitter = rest, submitter
        return self._new


def new_job(spec: JobSpec, submitter: Submitter, setting: Callable[[str], Any], seen: SeenBy | None = None) -> NewJob:
    """The job that `spec` asks for. Refused (invalid_params) for more than there is of a resource.

    `setting` gives a setting by name, `seen` what selectors among `depends_on` were found to name.
    """
    refuse_unmet(spec.slots, spec.needs or {}, setting)

    def given(name: str) -> Any:
        value = getattr(spec, name)
        return setting(name) if value is None else value

    return NewJob(
        command=spec.command,
        retry=RetryPolicy(
            max_retries=given("max_retries"),
            backoff_base=given("backoff_base"),
            backoff_max=given("backoff_max"),
            backoff_jitter=given("backoff_jitter"),
            retry_on=spec.retry_on or (),
            no_retry_on=spec.no_retry_on or (),
        ),
        id=spec.id,
        name=spec.name,
        labels=spec.labels or {},
        queue=spec.queue or DEFAULT_QUEUE,
        priority=spec.priority or 0,
        timeout_ms=milliseconds(given("timeout")),
        stall_timeout_ms=milliseconds(given("stall_timeout")),
        kill_grace_ms=milliseconds(given("kill_grace")) or 1,
        delay_ms=milliseconds(spec.delay) or 0,
        run_at_ms=spec.run_at,
        cwd=spec.cwd or _home()["HOME"],
        umask=DEFAULT_UMASK if submitter.umask is None else submitter.umask,
        environment=_environment(submitter.environment, setting),
        env=spec.env or {},
        stdin=spec.stdin,
        depends_on=spec.depends_on or (),
        seen=seen if seen and spec.depends_on else {},
        batch=spec.batch,
        unique_key=spec.unique_key,
        on_conflict=spec.on_conflict or "error",
        key=spec.key,
        key_limit=spec.key_limit or 1,
        slots=spec.slots or 1,
        needs=dict(sorted((spec.needs or {}).items())),
        hold=bool(spec.hold),
        once=bool(spec.once),
        split_output=given("split_output"),
        stdin_open=bool(spec.stdin_open),
    )


def queues_of(specs: Iterable[JobSpec]) -> set[str]:
    """The queues of the jobs that are asked for."""
    return {spec.queue or DEFAULT_QUEUE for spec in specs}


def refuse_unmet(slots: int | None, needs: Mapping[str, int], setting: Callable[[str], Any]) -> None:
    """Refused (invalid_params) for a job that needs what there is not, or more of it than there is in all."""
    supplies = read_supplies(setting("resources"))
    for name, much in needs.items():
        supply = supplies.get(name)
        if supply is None:
            known = hint(name, supplies, otherwise=f"there are {', '.join(supplies) or 'none'}")
            message = f"needs: there is no resource {name!r}{known} (queuectl config set resources {name}=AMOUNT)"
            raise Refused(ErrorCode.INVALID_PARAMS, message, {"key": "needs"})
        if much > supply.amount:
            message = f"needs: {name}={much} is more than there is in all, {supply.amount} (config resources)"
            raise Refused(ErrorCode.INVALID_PARAMS, message, {"key": "needs"})
    most = setting("slots")
    if slots is not None and most is not None and slots > most:
        message = f"slots: {slots} is more than there are in all, {most} (config slots)"
        raise Refused(ErrorCode.INVALID_PARAMS, message, {"key": "slots"})


def milliseconds(seconds: float | None) -> int | None:
    """Seconds as whole milliseconds; what is above 0 never becomes 0."""
    if seconds is None:
        return None
    return max(round(seconds * 1000), 1 if seconds > 0 else 0)


def _environment(sent: Mapping[str, str] | None, setting: Callable[[str], Any]) -> Mapping[str, str]:
    if sent is None:
        return {**_home(), "PATH": setting("path")}
    if JOB_VARIABLES.isdisjoint(sent):
        return sent
    # Sent from inside a job, whose resources are not those of the new one.
    own = JOB_VARIABLES | {variable(name) for name in read_supplies(setting("resources"))}
    if variable("gpu") in sent:
        own |= {VISIBLE_DEVICES}
    return {name: value for name, value in sent.items() if name not in own}


@lru_cache(maxsize=1)
def _home() -> Mapping[str, str]:
    """HOME, USER, LOGNAME and SHELL of the user the daemon runs as, from the password database."""
    try:
        entry = pwd.getpwuid(os.getuid())
    except KeyError:
        return {"HOME": "/", "USER": str(os.getuid()), "LOGNAME": str(os.getuid()), "SHELL": "/bin/sh"}
    return {"HOME": entry.pw_dir, "USER": entry.pw_name, "LOGNAME": entry.pw_name, "SHELL": entry.pw_shell}
