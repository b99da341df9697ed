"""The frames between the daemon and a worker process, and the memory of environments both sides keep alike.

A frame is the MessagePack array `[kind, body]`, one after the other on a Unix stream socket; `body` is a map.
Text that is not UTF-8 is packed as its own bytes (surrogateescape, both ways); bytes stay bytes.

worker to daemon:
  hello    {worker, pid, start_time, boot_id, version, protocol, jobs_done, draining, knows: KNOWS,
            running: null | {seq, run, pid, start_time, started_ms, paused}, ended: [outcome bodies]}
  running  {seq, run, pid, start_time, started_ms}   once a job has run RUNNING_AFTER_MS, not for shorter ones
  output   {seq, run, output: {stream: [size, inline, files]}}   only while followed: where its output stands
           now; told at once, then after each change, at most every TELL_EVERY_MS
  ended    outcome body: the fields of `queuectld.domain.outcome.Outcome`, `kind` as its word and
           `output` as {stream: [size, inline | null, [[file below the log folder, offset, length], ...]]}
  returned {seq, run, short}   a `run` that was not begun and will not be: it came while the worker was busy or
           draining, or (`short`, in words) descriptors, memory or processes were used up
  sent     {seq, run, number, refused}   answers `send`; null: the job has it, or nearly, else `ended`, `closed`, `full`
  drained  {}   the last frame of a worker that was told to drain
daemon to worker:
  welcome  {}   answers hello; unknown keys are ignored, as unknown kinds are on both sides
  run      the fields of `queuectld.domain.job.Claimed`, of its options those PROCESS_OPTIONS, environment (see
           RecentEnvironments), shell (argv before the command text), socket (for QUEUECTL_SOCKET), log_max_bytes
  stored   {runs: [[seq, run], ...]}   these outcomes are on disk, or of no use to anybody
  kill     {seq, run, reason, grace_ms, only_signal}   the kill ladder (`cancelled`, `timeout`, `stalled`, `shutdown`),
           or with `only_signal` just that signal
  pause, resume  {seq, run}
  follow   {seq, run, on}   write output through at once and tell `output` frames (`on` false: no longer)
  send     {seq, run, number, data, eof}   more for the stdin of a job with `stdin_open`; only where hello `knows` it
  drain    {}

This module owns the bytes alone: no socket, and nothing that a worker would have to import the domain for.
"""

from __future__ import annotations

import msgpack

TYPE_CHECKING = False  # importing typing would add a megabyte to every worker
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any, Final

    Frame = tuple[str, dict[str, Any]]

PROTOCOL: Final = 1
KNOWS: Final = ("send",)
"""Frames from the daemon that came after protocol 1 was first spoken. What an older worker would ignore, and so never
answer, it is not sent: its hello does not name it, and whoever asks is told why. A newer one names more; nobody minds.
"""
RUNNING_AFTER_MS: Final = 100
"""A job that ends sooner is told by its outcome alone: two frames less for the many short ones."""
TELL_EVERY_MS: Final = 50
ENVIRONMENTS_KEPT: Final = 16
MAX_FRAME_BYTES: Final = 64 * 1024 * 1024
"""A job's stdin and environment came in a message of at most 8 MiB each; the rest is room."""


_packer = msgpack.Packer(unicode_errors="surrogateescape")  # making one costs more than packing a frame


class WireError(Exception):
    """The other side sent what is no frame, or more than a frame may hold; the connection is of no more use."""


def pack(kind: str, body: Mapping[str, Any]) -> bytes:
    """One frame as bytes."""
    packed: bytes = _packer.pack((kind, body))
    return packed


class Frames:
    """Turns the bytes of one connection into frames, however they were cut on the way."""

    def __init__(self, max_bytes: int = MAX_FRAME_BYTES, max_containers: int | None = None) -> None:
        """`max_containers`: of one frame, where the other side is not to be trusted with memory: a million empty maps
        are a megabyte on the wire and 73 in here.
        """
        self._max_containers = max_containers
        self._containers = 0
        count = None if max_containers is None else self._count
        self._unpacker = msgpack.Unpacker(
            raw=False,
            unicode_errors="surrogateescape",
            strict_map_key=False,
            max_buffer_size=max_bytes,
            # A list is made as long as it says it is, before its first item has come.
            max_array_len=max_containers or -1,
            list_hook=count,
            object_hook=count,
        )

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that are whole now. Raises WireError on rubbish, and on more than a frame may hold."""
        try:
            self._unpacker.feed(data)
            for frame in self._unpacker:
                self._containers = 0
                yield _checked(frame)
        except (ValueError, TypeError, msgpack.UnpackException) as error:
            raise WireError(f"not a frame: {error}") from error

    def _count(self, container: Any) -> Any:
        self._containers += 1
        if self._max_containers is not None and self._containers > self._max_containers:
            raise ValueError(f"more than {self._max_containers} lists and maps")
        return container


def _checked(frame: object) -> Frame:
    if isinstance(frame, list) and len(frame) == 2 and isinstance(frame[0], str) and isinstance(frame[1], dict):
        return frame[0], frame[1]
    raise WireError("a frame is [kind, map]")


class RecentEnvironments:
    """The environments a worker still has, by id: the ENVIRONMENTS_KEPT most recently run with.

    Both sides keep one per connection, empty at its start, and call `recall`, and `keep` where it found nothing, once
    for each `run` frame in the order of the frames; so the daemon knows, without asking, whether it must send an
    environment (it may keep `None` as the value).
    """

    def __init__(self) -> None:
        self._kept: dict[int, Any] = {}

    def __contains__(self, environment_id: int) -> bool:
        return environment_id in self._kept

    def recall(self, environment_id: int) -> Any:
        """What was kept under this id, now the most recent one. Raises KeyError if it is not kept."""
        value = self._kept.pop(environment_id)
        self._kept[environment_id] = value
        return value

    def keep(self, environment_id: int, value: Any = None) -> None:
        """Keep it as the most recent one; the least recent one past ENVIRONMENTS_KEPT is forgotten."""
        self._kept.pop(environment_id, None)
        self._kept[environment_id] = value
        if len(self._kept) > ENVIRONMENTS_KEPT:
            del self._kept[next(iter(self._kept))]
