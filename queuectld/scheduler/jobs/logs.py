"""Reads the output of jobs: from the store, from log files, and from running executions."""

import asyncio
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from queuectl_client.protocol.messages import JobLogs
from queuectl_client.protocol.vocabulary import ErrorCode, JobState
from queuectld.domain.errors import Refused
from queuectld.domain.job import Attempt, Job, Output
from queuectld.domain.states import has_ended
from queuectld.scheduler.bus import Bus
from queuectld.scheduler.jobs import selection
from queuectld.scheduler.run_control import LiveOutput, RunControl
from queuectld.store.store import Store

LINE_BYTES: Final = 64 * 1024
"""A longer line is returned in parts."""
PROMPT_BYTES: Final = 1024 * 1024
"""Output of a running job up to this size is returned at once. Beyond it, pages end with a whole line, since the
following part may be dropped before it is read."""
HOLD_S: Final = 0.1
"""How long an incomplete line is held back then, waiting for the rest."""
BOTH: Final = "both"
"""The combined stream of a job without `split_output`."""


class LogPage(NamedTuple):
    """A piece of one stream. Offsets count all bytes written; `dropped` bytes before `offset` were not kept.

    `attempt` counts executions from 1; 0 if none has started. `eof`: the attempt has ended and there is no more.
    `dropped_in_all`: bytes of the whole stream known to be dropped.
    """

    data: bytes
    offset: int
    next: int
    dropped: int
    eof: bool
    attempt: int
    dropped_in_all: int = 0


class LogService:
    """Answers `job.logs`."""

    def __init__(self, store: Store, bus: Bus, runs: RunControl, folder: Path) -> None:
        self._store = store
        self._bus = bus
        self._runs = runs
        self._folder = folder

    async def read(self, request: JobLogs) -> LogPage:
        """Return the output from `request.offset` on; with `wait`, once there is any or the attempt has ended."""
        seq = await selection.resolve_one(self._store, request.id)
        watch = self._bus.watch_job(seq)
        try:
            while True:
                page = await self._look(seq, request)
                if page is not None:
                    return page
                await watch.woken()
        finally:
            watch.close()

    async def _look(self, seq: int, request: JobLogs) -> LogPage | None:
        """Return a page, or None to try again at the next event of the job."""
        # Read the job first: an execution that ends between the two reads is then among the attempts.
        jobs = await self._store.queries.many([seq])
        if not jobs:
            raise Refused(ErrorCode.NOT_FOUND, f"no such job: {request.id!r}", {"id": request.id})
        job = jobs[0]
        attempts = await self._store.queries.attempts(seq)
        number = request.attempt if request.attempt is not None else _newest(job, attempts)
        if 1 <= number <= len(attempts):
            return self._page(attempts[number - 1].output, job, request, number, over=True)
        if number == len(attempts) + 1 and job.state is JobState.PROCESSING:
            return await self._live(job, request, number)
        if request.wait and not has_ended(job.state):
            return None
        if request.attempt is not None:
            message = f"no such attempt of {job.id}: {request.attempt}; it has had {len(attempts)}"
            raise Refused(ErrorCode.NOT_FOUND, message, {"id": job.id, "attempts": len(attempts)})
        return LogPage(b"", 0, 0, 0, has_ended(job.state), 0)

    async def _live(self, job: Job, request: JobLogs, number: int) -> LogPage | None:
        assert job.worker is not None
        follow = self._runs.follow(job.worker, job.seq, job.run)
        if follow is None:
            return None if request.wait else LogPage(b"", 0, 0, 0, False, number)
        may_hold = request.wait
        while not follow.over:
            if follow.output is not None:
                page = self._page(follow.output, job, request, number, over=False)
                if page.data and page.next > PROMPT_BYTES:
                    lines = _whole_lines(page)
                    if lines is None and may_hold:
                        may_hold = False
                        await _change_within(follow, HOLD_S)
                        continue
                    page = lines or page
                if page.data or not request.wait:
                    return page
            await follow.changed()
        # It has ended and its outcome is stored: read again.
        return await self._look(job.seq, request)

    def _page(
        self, streams: Mapping[str, Output], job: Job, request: JobLogs, number: int, *, over: bool
    ) -> LogPage:
        parts = _parts(streams, job, request.stream)
        size, lost = sum(part.size for part in parts), sum(part.dropped for part in parts)
        offset = request.offset if request.offset >= 0 else max(0, size + request.offset)
        base = 0
        for part in parts:
            if offset < base + part.size:
                data, start = read_output(part, self._folder, max(0, offset - base), request.limit, over=over)
                if data:
                    start += base
                    end = start + len(data)
                    return LogPage(data, start, end, start - offset, over and end >= size, number, lost)
            if not over:
                # The second stream follows the first, whose length is unknown until the end.
                break
            base += part.size
        # Everything from there on was dropped.
        end = size if over else offset
        return LogPage(b"", end, end, max(0, end - offset), over, number, lost)


async def _change_within(follow: LiveOutput, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await follow.changed()


def _whole_lines(page: LogPage) -> LogPage | None:
    """Cut the page after its last newline or carriage return. None if it has neither and is not too long to wait."""
    end = page.data.rfind(b"\n") + 1 or page.data.rfind(b"\r") + 1
    if not end:
        return page if len(page.data) >= LINE_BYTES else None
    return page._replace(data=page.data[:end], next=page.offset + end)


def read_output(output: Output, folder: Path, offset: int, limit: int, *, over: bool = True) -> tuple[bytes, int]:
    """Return at most `limit` bytes from `offset` on, and their actual offset: higher if bytes were dropped.

    Until the run is `over`, its files may be renamed or truncated at any moment: a missing or shorter file means that
    a new report follows soon.
    """
    if output.inline is not None:
        return output.inline[offset : offset + limit], offset
    for name, first, length in output.files:
        if offset < first + length:
            start = max(offset, first)
            data = _read_file(folder / name, start - first, min(limit, first + length - start))
            if data or not over:
                return data, start
    return b"", offset


def _read_file(path: Path, position: int, length: int) -> bytes:
    """Read part of a regular file without following symbolic links. A missing file counts as empty."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise Refused(ErrorCode.INTERNAL, f"cannot read {path}: {error.strerror}") from error
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise Refused(ErrorCode.INTERNAL, f"{path} is not a regular file")
        return os.pread(fd, length, position)
    finally:
        os.close(fd)


def _newest(job: Job, attempts: list[Attempt]) -> int:
    ended_meanwhile = bool(attempts) and attempts[-1].run == job.run
    return len(attempts) + (job.state is JobState.PROCESSING and not ended_meanwhile)


def _parts(streams: Mapping[str, Output], job: Job, name: str | None) -> list[Output]:
    """Return the requested streams in order. Raises Refused (wrong_state) if they were not split."""
    if name is None:
        names = ("stdout", "stderr") if job.options.split_output else (BOTH,)
        return [streams[each] for each in names if each in streams]
    if not job.options.split_output:
        message = f"stdout and stderr of {job.id} are combined; enqueue with --split-output to separate them"
        raise Refused(ErrorCode.WRONG_STATE, message, {"id": job.id})
    return [streams[name]] if name in streams else []
