"""Reading a job's output from the daemon: a page at a time, from the end, or as it comes until the job has ended."""

import sys
from collections.abc import Iterator, Mapping
from threading import Thread
from typing import Any, Final, TextIO

from queuectl_client.cli.invocation import Invocation
from queuectl_client.cli.outcome import has_ended
from queuectl_client.cli.render import clock_time, result_text
from queuectl_client.errors import NotFound, QueuectlError

PAGE: Final = 256 * 1024

Job = Mapping[str, Any]


class Sink:
    """Where output goes: untouched to a file or pipe, made safe for a terminal."""

    def __init__(self, invocation: Invocation, *, raw: bool = False, stream: TextIO | None = None) -> None:
        from queuectl_client.cli.terminal import TerminalFilter

        self._stream = stream or sys.stdout
        self._filter = None
        if self._stream.isatty() and not raw:
            self._filter = TerminalFilter(colours=invocation.colours(self._stream))

    def write(self, data: bytes) -> None:
        """Show this piece now."""
        if self._filter is not None:
            data = self._filter.feed(data).encode("utf-8", "backslashreplace")
        self._out(data)

    def end(self) -> None:
        """Show what an unfinished sequence held back, and switch colours off."""
        if self._filter is not None:
            self._out(self._filter.feed(b"", last=True).encode("utf-8", "backslashreplace"))

    def _out(self, data: bytes) -> None:
        if data:
            self._stream.flush()
            self._stream.buffer.write(data)
            self._stream.buffer.flush()


class Output:
    """The output of one attempt of a job."""

    def __init__(
        self, invocation: Invocation, job: str, *, attempt: int | None = None, stream: str | None = None
    ) -> None:
        self._invocation = invocation
        self._asked = {"id": job, "attempt": attempt, "stream": stream}

    def page(self, offset: int, *, limit: int = PAGE, wait: bool = False) -> Mapping[str, Any]:
        """The answer of `job.logs`. `wait`: not before there is something, or the attempt has ended."""
        asked = {key: value for key, value in self._asked.items() if value is not None}
        answer: Mapping[str, Any] = self._invocation.call("job.logs", **asked, offset=offset, limit=limit, wait=wait)
        return answer

    def pieces(self, offset: int = 0, *, wait: bool = False) -> Iterator[bytes]:
        """All of it from `offset` on; `wait`: until the attempt has ended, else what there is now."""
        while True:
            page = self.page(offset, wait=wait)
            if page["data"]:
                yield page["data"]
            if page["eof"] or (not wait and not page["data"]):
                return
            offset = page["next"]

    def start_of_last(self, lines: int) -> int:
        """The offset where the last so many lines begin, found from the end, a page at a time."""
        end = self.page(-1, limit=1)["next"]
        if lines <= 0:
            return int(end)
        missing = lines + 1  # the newline before the first of them
        first = True
        while end > 0:
            start = max(end - PAGE, 0)
            page = self.page(start, limit=end - start)
            data: bytes = page["data"]
            if first and not data.endswith(b"\n"):
                missing -= 1
            first = False
            found = data.count(b"\n")
            if found >= missing:
                at = len(data)
                for _ in range(missing):
                    at = data.rindex(b"\n", 0, at)
                return int(page["offset"]) + at + 1
            missing -= found
            if page["offset"] > start:
                return int(page["offset"])  # what lies before was dropped
            end = start
        return 0


def follow_job(
    invocation: Invocation, job: str, *, raw: bool = False, stream: str | None = None, last_lines: int | None = None
) -> Job:
    """Show the output of every attempt from the newest on, as it comes; the job as it ended.

    Waits for a job that has not begun. `last_lines`: of the newest attempt only so many, then what follows. Streams
    that were kept apart go to stdout and stderr.
    """
    first: Job = invocation.call("job.get", id=job)
    job = first["id"]  # `last` may be another one soon
    if first["split_output"] and stream is None:
        other = Follower(invocation, job, raw=raw, last_lines=last_lines)
        _follow(invocation, job, Sink(invocation, raw=raw), "stdout", last_lines)
        other.finish()
    else:
        _follow(invocation, job, Sink(invocation, raw=raw), stream, last_lines)
    ended: Job = invocation.call("job.get", id=job)
    return ended


class Follower:
    """Follows the job's stderr at the same time, in a thread with a connection of its own."""

    def __init__(self, invocation: Invocation, job: str, *, raw: bool, last_lines: int | None) -> None:
        self._invocation = invocation.another()
        self._sink = Sink(invocation, raw=raw, stream=sys.stderr)
        self._failure: BaseException | None = None
        self._thread = Thread(target=self._run, args=(job, last_lines), daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Wait for its end. Raises what went wrong in it."""
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self, job: str, last_lines: int | None) -> None:
        try:
            _follow(self._invocation, job, self._sink, "stderr", last_lines)
        except (QueuectlError, OSError) as error:
            self._failure = error
        finally:
            self._invocation.close()


def _follow(invocation: Invocation, job: str, sink: Sink, stream: str | None, last_lines: int | None) -> None:
    try:
        attempt = Output(invocation, job, stream=stream).page(0, limit=1, wait=True)["attempt"]
        while attempt:
            output = Output(invocation, job, attempt=attempt, stream=stream)
            offset = output.start_of_last(last_lines) if last_lines is not None else 0
            for piece in output.pieces(offset, wait=True):
                sink.write(piece)
            last_lines = None
            attempt = _next_attempt(invocation, job, attempt, stream)
    finally:
        sink.end()


def _next_attempt(invocation: Invocation, job: str, attempt: int, stream: str | None) -> int | None:
    """The number of the next attempt once it has begun; None when the job has ended without one."""
    now: Job = invocation.call("job.get", id=job)
    if has_ended(now) and len(now["attempts_list"]) <= attempt:
        return None
    if len(now["attempts_list"]) == attempt and stream != "stderr":
        invocation.say(between_attempts(now))
    try:
        Output(invocation, job, attempt=attempt + 1, stream=stream).page(0, limit=1, wait=True)
    except NotFound:
        return None  # it ended instead: cancelled, or its dependency failed
    return attempt + 1


def between_attempts(job: Job) -> str:
    """What is said of a job whose attempt has ended, and that will run again."""
    end = result_text(job["attempts_list"][-1])
    if job["state"] == "failed" and job.get("run_at"):
        return f"[{job['id']}: {end}; runs again at {clock_time(job['run_at'])}]"
    return f"[{job['id']}: {end}; runs again]"
