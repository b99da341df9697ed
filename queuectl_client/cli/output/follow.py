"""Read a job's output from the daemon: by pages, from the end, or following until the job has ended."""

import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from threading import Thread
from typing import Any, Final, TextIO

from queuectl_client.cli.invocation import Invocation
from queuectl_client.cli.output.outcome import has_ended
from queuectl_client.cli.output.render import clock_time, result_text
from queuectl_client.errors import NotFound, QueuectlError

PAGE: Final = 256 * 1024

Job = Mapping[str, Any]


class Sink:
    """Writes output: unchanged to a file or pipe, filtered to a terminal."""

    def __init__(self, invocation: Invocation, *, raw: bool = False, stream: TextIO | None = None) -> None:
        from queuectl_client.cli.output.terminal import TerminalFilter

        self._stream = stream or sys.stdout
        self._filter = None
        self._is_in_line = False
        if self._stream.isatty() and not raw:
            self._filter = TerminalFilter(colours=invocation.colours(self._stream))

    def write(self, data: bytes) -> None:
        """Write this piece and flush it."""
        if self._filter is not None:
            data = self._filter.feed(data).encode("utf-8", "backslashreplace")
        self._out(data)

    def interrupt(self) -> None:
        """End an unfinished line on a terminal, before another message is written."""
        if self._filter is not None and self._is_in_line:
            self._out(b"\n")

    def end(self) -> None:
        """Write a pending incomplete sequence, and reset colours."""
        if self._filter is not None:
            self._out(self._filter.feed(b"", last=True).encode("utf-8", "backslashreplace"))

    def _out(self, data: bytes) -> None:
        if data:
            self._is_in_line = not data.endswith(b"\n")
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
        """Return the answer of `job.logs`. `wait`: block until there is output or the attempt has ended."""
        asked = {key: value for key, value in self._asked.items() if value is not None}
        answer: Mapping[str, Any] = self._invocation.call("job.logs", **asked, offset=offset, limit=limit, wait=wait)
        return answer

    def show(self, sink: Sink, offset: int = 0, *, wait: bool = False) -> None:
        """Write the output from `offset` on: what there is now, or with `wait` until the attempt has ended.

        For each gap, print on stderr how many bytes are missing.
        """
        for page in self.pages(offset, wait=wait):
            if page["dropped"]:
                sink.interrupt()
                what = "output" if self._asked["stream"] in (None, "both") else self._asked["stream"]
                self._invocation.say(f"[{self._asked['id']}: {page['dropped']:,} bytes of {what} were dropped here]")
            sink.write(page["data"])

    def pages(self, offset: int = 0, *, wait: bool = False) -> Iterator[Mapping[str, Any]]:
        """Yield the pages for `show`."""
        while True:
            page = self.page(offset, wait=wait)
            if page["data"] or page["dropped"]:
                yield page
            if page["eof"] or not (page["data"] or page["dropped"] or wait):
                return
            offset = page["next"]

    def start_of_last(self, lines: int) -> int:
        """Return the offset of the last `lines` lines, searching backwards by pages.

        The last line may lack a newline. The data after a gap starts a line.
        """
        size: int = self.page(-1, limit=1)["next"]
        end = start = size
        while lines > 0 and end > 0:
            pages = self._before(end)
            behind_a_gap = not pages or pages[-1]["next"] < end
            for page in reversed(pages if not behind_a_gap else []):
                data, at = page["data"], len(page["data"])
                while lines and (at := data.rfind(b"\n", 0, at)) >= 0:
                    if page["offset"] + at + 1 < size:
                        start, lines = page["offset"] + at + 1, lines - 1
                end = page["offset"]
                behind_a_gap = page["dropped"] > 0
                if behind_a_gap or not lines:
                    break
            if lines and (behind_a_gap or end == 0) and end < size:
                start, lines = end, lines - 1
            if lines and behind_a_gap:
                return self._from_the_front(lines, end)
        return start

    def _before(self, end: int) -> list[Mapping[str, Any]]:
        """Return the pages of the PAGE bytes before `end`. A page may be shorter, at the end of a file."""
        offset = max(end - PAGE, 0)
        found: list[Mapping[str, Any]] = []
        while offset < end:
            page = self.page(offset, limit=end - offset)
            if not page["data"] or page["offset"] >= end:
                break
            found.append(page)
            offset = page["next"]
        return found

    def _from_the_front(self, lines: int, end: int) -> int:
        """Like `start_of_last` before a gap that ends at `end`: the start of a gap is only found from the front."""
        starts: deque[int] = deque(maxlen=lines)
        begins = True
        for page in self.pages():
            if page["offset"] >= end:
                break
            data: bytes = page["data"]
            if begins or page["dropped"]:
                starts.append(page["offset"])
            at = -1
            while (at := data.find(b"\n", at + 1)) >= 0:
                if at + 1 < len(data):
                    starts.append(page["offset"] + at + 1)
            begins = data.endswith(b"\n")
        return starts[0] if starts else end


def follow_job(
    invocation: Invocation, job: str, *, raw: bool = False, stream: str | None = None, last_lines: int | None = None
) -> Job:
    """Write the output of every attempt from the newest on, as it is written; return the ended job.

    Wait for a job that has not started. `last_lines`: of the newest attempt, start with this many. Separate streams go
    to stdout and stderr.
    """
    first: Job = invocation.call("job.get", id=job)
    job = first["id"]  # `last` may soon be another job
    if first["split_output"] and stream is None:
        other = Follower(invocation, job, raw=raw, last_lines=last_lines)
        _follow(invocation, job, Sink(invocation, raw=raw), "stdout", last_lines)
        other.finish()
    else:
        _follow(invocation, job, Sink(invocation, raw=raw), stream, last_lines)
    ended: Job = invocation.call("job.get", id=job)
    return ended


class Follower:
    """Follows the job's stderr in parallel, in a thread with its own connection."""

    def __init__(self, invocation: Invocation, job: str, *, raw: bool, last_lines: int | None) -> None:
        self._invocation = invocation.another()
        self._sink = Sink(invocation, raw=raw, stream=sys.stderr)
        self._failure: BaseException | None = None
        self._thread = Thread(target=self._run, args=(job, last_lines), daemon=True)
        self._instead: Callable[[], None] | None = None
        try:
            self._thread.start()
        except RuntimeError:  # no thread can be started now: follow one stream after the other
            self._instead = partial(self._run, job, last_lines)

    def finish(self) -> None:
        """Wait for the thread to end. Raise its error."""
        if self._instead is not None:
            self._instead()
        else:
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
            output.show(sink, offset, wait=True)
            last_lines = None
            attempt = _next_attempt(invocation, job, attempt, stream)
    finally:
        sink.end()


def _next_attempt(invocation: Invocation, job: str, attempt: int, stream: str | None) -> int | None:
    """Wait for the next attempt and return its number; None if the job ended without one."""
    now: Job = invocation.call("job.get", id=job)
    if has_ended(now) and len(now["attempts_list"]) <= attempt:
        return None
    if len(now["attempts_list"]) == attempt and stream != "stderr":
        invocation.say(between_attempts(now))
    try:
        Output(invocation, job, attempt=attempt + 1, stream=stream).page(0, limit=1, wait=True)
    except NotFound:
        return None  # ended: cancelled, or its dependency failed
    return attempt + 1


def between_attempts(job: Job) -> str:
    """Return the message for a job that will run again after an attempt."""
    end = result_text(job["attempts_list"][-1])
    if job["state"] == "failed" and job.get("run_at"):
        return f"[{job['id']}: {end}; runs again at {clock_time(job['run_at'])}]"
    return f"[{job['id']}: {end}; runs again]"
