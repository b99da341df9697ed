"""From what a client asked for to a job with everything decided: settings filled in, durations in milliseconds."""

import os
import pwd
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

from queuectl_client.protocol.jobspec import JobSpec
from queuectl_client.protocol.submissions import Submitter
from queuectl_client.protocol.vocabulary import ErrorCode
from queuectld.domain.errors import Refused
from queuectld.domain.job import NewJob
from queuectld.domain.retry import RetryPolicy

DEFAULT_UMASK: Final = 0o077
JOB_VARIABLES: Final = frozenset({
    "QUEUECTL_JOB_ID",
    "QUEUECTL_ATTEMPT",
    "QUEUECTL_RUN",
    "QUEUECTL_QUEUE",
    "QUEUECTL_WORKER",
    "QUEUECTL_SOCKET",
})
"""Set anew for each execution; a job that enqueues a job must not hand its own on."""

LATER: Final[Mapping[str, object]] = {"key": None, "key_limit": 1, "slots": 1, "needs": {}, "stall_timeout": None}
"""Keys of the interface that this version cannot honour yet: refused rather than ignored.

Each with the value that asks for nothing: a job that was printed has it, and can be enqueued again.
"""


class Submission:
    """Makes jobs of what was asked for, with the settings in force at the moment. `setting` gives one by name.

    Jobs that follow one another are mostly alike but for their command, so what was worked out for one serves the next.
    """

    def __init__(self, setting: Callable[[str], Any]) -> None:
        self._setting = setting
        self._rest: tuple[Any, ...] | None = None
        self._submitter: Submitter | None = None
        self._new: NewJob | None = None

    def new_job(self, spec: JobSpec, submitter: Submitter) -> NewJob:
        """The job that `spec` asks for. Refused (invalid_params) for a key that this version cannot honour."""
        rest = spec[1:]
        if self._new is not None and submitter is self._submitter and rest == self._rest:
            return NewJob(spec.command, *self._new[1:])
        self._new = _new_job(spec, submitter, self._setting)
        self._rest, self._submitter = rest, submitter
        return self._new


def _new_job(spec: JobSpec, submitter: Submitter, setting: Callable[[str], Any]) -> NewJob:
    for name, nothing in LATER.items():
        if getattr(spec, name) not in (None, nothing):
            message = f"{name} is not supported by this version of queuectld"
            raise Refused(ErrorCode.INVALID_PARAMS, message, {"key": name})

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
        queue=spec.queue or "default",
        priority=spec.priority or 0,
        timeout_ms=milliseconds(given("timeout")),
        kill_grace_ms=milliseconds(given("kill_grace")) or 1,
        delay_ms=milliseconds(spec.delay) or 0,
        run_at_ms=spec.run_at,
        cwd=spec.cwd or _home()["HOME"],
        umask=DEFAULT_UMASK if submitter.umask is None else submitter.umask,
        environment=_environment(submitter.environment, setting),
        env=spec.env or {},
        stdin=spec.stdin,
        depends_on=spec.depends_on or (),
        unique_key=spec.unique_key,
        on_conflict=spec.on_conflict or "error",
        hold=bool(spec.hold),
        once=bool(spec.once),
        split_output=given("split_output"),
    )


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
    return {name: value for name, value in sent.items() if name not in JOB_VARIABLES}


@lru_cache(maxsize=1)
def _home() -> Mapping[str, str]:
    """HOME, USER, LOGNAME and SHELL of the user the daemon runs as, from the password database."""
    try:
        entry = pwd.getpwuid(os.getuid())
    except KeyError:
        return {"HOME": "/", "USER": str(os.getuid()), "LOGNAME": str(os.getuid()), "SHELL": "/bin/sh"}
    return {"HOME": entry.pw_dir, "USER": entry.pw_name, "LOGNAME": entry.pw_name, "SHELL": entry.pw_shell}
