"""What a job takes along from the program that submits it, and how a call to the SDK becomes the job's map.

The daemon checks the keys; here only what Python programs say in their own types is put into the wire's.
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
    """The ids and seqs of the jobs that were stored, in their order."""

    ids: list[str]
    seqs: list[int]

    @classmethod
    def none(cls) -> Self:
        """No job so far."""
        return cls([], [])

    def add(self, answer: Mapping[str, Any]) -> None:
        """The daemon's answer to a message of jobs."""
        self.ids.extend(answer["ids"])
        self.seqs.extend(answer["seqs"])

    def committed(self, answer: Mapping[str, Any]) -> None:
        """Their batch is there. Nothing more is kept of it."""


def capture() -> dict[str, Any]:
    """This process's folder, environment and umask. Raises InvalidParams when its folder has been removed."""
    try:
        cwd = os.getcwd()
    except FileNotFoundError:
        raise InvalidParams("the current folder was removed: give the job another with cwd") from None
    return {"cwd": cwd, "environment": dict(os.environ), "umask": _umask()}


def described(job: JobLike, keys: Mapping[str, Any]) -> dict[str, Any]:
    """The job's map: what is captured here, over it the job's own keys, over them `keys`; with a request id."""
    return {"request": new_request(), **laid_under({**job_map(job), **_given(keys)})}


def laid_under(keys: Mapping[str, Any]) -> dict[str, Any]:
    """These keys of a job, or of many, in the wire's types, over what is captured here."""
    # A job with a folder of its own needs none of ours, which may be gone.
    caught = {"environment": dict(os.environ), "umask": _umask()} if keys.get("cwd") else capture()
    return {**caught, **_plain(keys)}


def job_map(job: JobLike) -> dict[str, Any]:
    """The map of a job given as its command, its argv, or a map."""
    if isinstance(job, Mapping):
        return _plain(job)
    return {"command": job if isinstance(job, str) else list(job)}


def new_request() -> str:
    """A name for a write, so that it can be asked for again when its answer is lost."""
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
    """This process's umask, without setting it for a moment, which other threads would notice (proc(5))."""
    descriptor = os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)
    try:
        # Its second line. Opened as text this would take longer than all else that a client does for a job.
        _, found, after = os.read(descriptor, _FIRST_LINES).partition(b"\nUmask:")
    finally:
        os.close(descriptor)
    return int(after.split(None, 1)[0], 8) if found else 0o077
