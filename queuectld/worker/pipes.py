"""The pipes that a run's output comes through: one for both streams in their order, or two."""

from __future__ import annotations

import os
from functools import partial

from queuectld.worker.capture import Capture

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from queuectld.worker.loop import Loop
    from queuectld.workerwire.outputfiles import OutputFiles


class Pipes:
    """The reading ends, with what was captured of each; of one run at a time."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._came = _no_run
        self._captures: list[Capture] = []

    def open(self, files: list[tuple[str, OutputFiles]], limit: int, writing_ends: list[int]) -> None:
        """One pipe for each stream. Its other end goes into `writing_ends`; the caller closes those. Raises OSError."""
        for stream, where in files:
            reading, writing = os.pipe()
            writing_ends.append(writing)
            os.set_blocking(reading, False)
            where.begin(limit)
            self._captures.append(Capture(stream, reading, where))

    def watch(self, came: Callable[[], None]) -> None:
        """Take what comes from now on, and call `came` then. Before, it stays in the pipes."""
        self._came = came
        for capture in self._captures:
            self._loop.watch(capture.fd, partial(self._take, capture))

    def write_through(self) -> None:
        """Everything goes to files at once."""
        for capture in self._captures:
            capture.write_through()

    @property
    def snapshot(self) -> dict[str, Any]:
        """By stream [size, inline, files] as it is now."""
        return {capture.stream: capture.snapshot for capture in self._captures}

    def finish(self, seq: int, run: int) -> tuple[dict[str, Any], str]:
        """The job has ended: by stream [size, inline, files] for its outcome, and in words what was lost."""
        lost = []
        output = {}
        for capture in self._captures:
            capture.drain()
            output[capture.stream] = capture.finish(seq, run)
            if capture.dropped:
                lost.append(f"{capture.dropped} bytes of output were dropped: {capture.why_dropped}")
        return output, "; ".join(lost)

    def close(self, still_held: Callable[[int], None] | None = None) -> None:
        """Watch no more. A pipe whose other end somebody still has is passed on to `still_held`, the others closed."""
        for capture in self._captures:
            self._loop.unwatch(capture.fd)
            if still_held is not None and not capture.at_end:
                still_held(capture.fd)
            else:
                os.close(capture.fd)
        self._captures.clear()
        self._came = _no_run  # it is a method of the run, which would keep itself alive by it

    def _take(self, capture: Capture, _events: int) -> None:
        try:
            if not capture.take():
                self._loop.unwatch(capture.fd)
        except BlockingIOError:
            return
        self._came()


def _no_run() -> None:
    """There is no run."""
