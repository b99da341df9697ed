"""Build the wire map of a job from the arguments of the SDK and the context of the submitting process.

Only converts Python types to those of the wire; the daemon checks the keys.
"""

import os
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple, Self
from uuid import uuid4

from queuectl_client.errors import InvalidParams

JobLike = str | Sequence[str] | Mapping[str, Any]
"""A shell command, an argv, or a map with the keys of a job."""

_FIRST_LINES: Final = 512


class Added(NamedTuple):
    """The ids and seqs of the stored jobs, in order."""

    ids: list[str]
    seqs: list[int]

    @classmethod
    def none(cls) -> Self:
        """Return an empty one."""
        return cls([], [])

    def add(self, answer: Mapping[str, Any]) -> None:
        """Add the jobs of the daemon's answer to a message."""
        self.ids.extend(answer["ids"])
        self.seqs.extend(answer["seqs"])

    def committed(self, answer: Mapping[str, Any]) -> None:
        """Do nothing: the commit adds no jobs."""


def capture() -> dict[str, Any]:
    """Return this process's folder, environment and umask. Raise InvalidParams if its folder was removed."""
    try:
        cwd = os.getcwd()
    except FileNotFoundError:
        raise InvalidParams("the current folder was removed: give the job another with cwd") from None
    return {"cwd": cwd, "environment": dict(os.environ), "umask": _umask()}


def described(job: JobLike, keys: Mapping[str, Any]) -> dict[str, Any]:
    """Return the map of a job, with a request id. `keys` override those of the job, which override captured ones."""
    return {"request": new_request(), **laid_under({**job_map(job), **_given(keys)})}


def laid_under(keys: Mapping[str, Any]) -> dict[str, Any]:
    """Return these keys of one or many jobs in wire types; they override captured ones."""
    # A job with its own cwd does not need the current folder, which may have been removed.
    caught = {"environment": dict(os.environ), "umask": _umask()} if keys.get("cwd") else capture()
    return {**caught, **_plain(keys)}


def job_map(job: JobLike) -> dict[str, Any]:
    """Return the map of a job given as a command, an argv or a map."""
    if isinstance(job, Mapping):
        return _plain(job)
    return {"command": job if isinstance(job, str) else list(job)}


def new_request() -> str:
    """Return a new request id, which makes repeating a write after a lost answer safe."""
    return str(uuid4())


def _given(keys: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in keys.items() if value is not None}


def _plain(keys: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _plain_value(key, value) for key, value in keys.items()}


def _plain_value(key: str, value: Any) -> Any:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, datetime):
        return value.astimezone().isoformat()
    if key == "cwd" and isinstance(value, str | os.PathLike):
        return os.path.abspath(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value


def _umask() -> int:
    """Return this process's umask without setting it, which would affect other threads (proc(5))."""
    descriptor = os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)
    try:
        # Its second line. Text mode would take longer than all other work of a client for a job.
        _, found, after = os.read(descriptor, _FIRST_LINES).partition(b"\nUmask:")
    finally:
        os.close(descriptor)
    return int(after.split(None, 1)[0], 8) if found else 0o077
