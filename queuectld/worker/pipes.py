"""The output pipes of a run: one for both streams, or one each."""

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
    """The reading ends of the current run, with their captured output."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._came = _no_run
        self._captures: list[Capture] = []

    def open(self, files: list[tuple[str, OutputFiles]], limit: int, writing_ends: list[int]) -> None:
        """Open a pipe for each stream. The other ends go to `writing_ends`, for the caller to close. Raises OSError."""
        for stream, where in files:
            reading, writing = os.pipe()
            writing_ends.append(writing)
            os.set_blocking(reading, False)
            where.begin(limit)
            self._captures.append(Capture(stream, reading, where))

    def watch(self, came: Callable[[], None]) -> None:
        """Start reading output, and call `came` when there is any."""
        self._came = came
        for capture in self._captures:
            self._loop.watch(capture.fd, partial(self._take, capture))

    def write_through(self) -> None:
        """Write output to files as soon as it is read."""
        for capture in self._captures:
            capture.write_through()

    @property
    def snapshot(self) -> dict[str, Any]:
        """The current [size, inline, files] by stream."""
        return {capture.stream: capture.snapshot for capture in self._captures}

    def finish(self, seq: int, run: int) -> tuple[dict[str, Any], str]:
        """Finish the output: [size, inline, files] by stream for the outcome, and a description of losses."""
        lost = []
        output = {}
        for capture in self._captures:
            capture.drain()
            output[capture.stream] = capture.finish(seq, run)
            if capture.dropped:
                lost.append(f"{capture.dropped} bytes of output were dropped: {capture.why_dropped}")
        return output, "; ".join(lost)

    def close(self, still_held: Callable[[int], None] | None = None) -> None:
        """Stop reading. Pipes that are still open for writing are passed to `still_held`, the others are closed."""
        for capture in self._captures:
            self._loop.unwatch(capture.fd)
            if still_held is not None and not capture.at_end:
                still_held(capture.fd)
            else:
                os.close(capture.fd)
        self._captures.clear()
        self._came = _no_run  # drop the reference to the run

    def _take(self, capture: Capture, _events: int) -> None:
        try:
            if not capture.take():
                self._loop.unwatch(capture.fd)
        except BlockingIOError:
            return
        self._came()


def _no_run() -> None:
    """Placeholder while there is no run."""
