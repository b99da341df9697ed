"""The wire format between daemon and worker, and the cache of environments that both sides keep.

A frame is the MessagePack array `[kind, body]`, sent over a Unix stream socket; `body` is a map.
Text that is not UTF-8 is packed as its original bytes (surrogateescape in both directions).

worker to daemon:
  hello    {worker, pid, start_time, boot_id, version, protocol, jobs_done, draining, knows: KNOWS,
            running: null | {seq, run, pid, start_time, started_ms, paused}, ended: [outcome bodies]}
  running  {seq, run, pid, start_time, started_ms}   once a job has run RUNNING_AFTER_MS, not for shorter ones
  output   {seq, run, output: {stream: [size, inline, files]}}   while followed: the current output; sent at
           once, then after each change, at most every OUTPUT_INTERVAL_MS
  ended    outcome body: the fields of `queuectld.domain.outcome.Outcome`, `kind` as its word and
           `output` as {stream: [size, inline | null, [[file below the log folder, offset, length], ...]]}
  returned {seq, run, short}   a `run` that was not started: it arrived while the worker was busy or draining, or
           descriptors, memory or processes were exhausted (`short`: a description)
  sent     {seq, run, number, refused}   answers `send`: null if nearly all is written, else `ended`, `closed`, `full`
  drained  {}   the last frame of a worker after `drain`
daemon to worker:
  welcome  {}   answers hello. Both sides ignore unknown keys and kinds
  run      the fields of `queuectld.domain.job.Claimed`, of its options the PROCESS_OPTIONS, environment (see
           RecentEnvironments), shell (argv before the command text), socket (for QUEUECTL_SOCKET), log_max_bytes
  stored   {runs: [[seq, run], ...]}   these outcomes are on disk or obsolete: remove the spool files
  kill     {seq, run, reason, grace_ms, only_signal}   start the kill ladder (`cancelled`, `timeout`, `stalled`,
           `shutdown`), or send only the signal `only_signal`
  pause, resume  {seq, run}
  follow   {seq, run, on}   start (`on` false: stop) writing output to files at once and sending `output` frames
  send     {seq, run, number, data, eof}   write to the stdin of a job with `stdin_open`; only if hello `knows` it
  drain    {}

This module only packs and unpacks frames. It imports nothing of the domain, to keep workers small.
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
"""Frames from the daemon that were added after protocol 1, as listed in hello. An older worker would ignore such a
frame and never answer it, so the daemon does not send it and reports an error to the client.
"""
RUNNING_AFTER_MS: Final = 100
"""No `running` frame is sent for jobs that end sooner, to save work for short jobs."""
OUTPUT_INTERVAL_MS: Final = 50
ENVIRONMENTS_KEPT: Final = 16
MAX_FRAME_BYTES: Final = 64 * 1024 * 1024
"""Stdin and environment of a job arrive in client messages of at most 8 MiB each; the rest is reserve."""


_packer = msgpack.Packer(unicode_errors="surrogateescape")  # creating one takes longer than packing a frame


class WireError(Exception):
    """The peer sent an invalid or oversized frame; the connection must be closed."""


def pack(kind: str, body: Mapping[str, Any]) -> bytes:
    """Return a frame as bytes."""
    packed: bytes = _packer.pack((kind, body))
    return packed


class Frames:
    """Decodes the frames of one connection from pieces of any size."""

    def __init__(self, max_bytes: int = MAX_FRAME_BYTES, max_containers: int | None = None) -> None:
        """`max_containers` limits the lists and maps of a frame from an untrusted peer: a million empty maps are 1 MB
        on the wire and 73 MB in memory.
        """
        self._max_containers = max_containers
        self._containers = 0
        count = None if max_containers is None else self._count
        self._unpacker = msgpack.Unpacker(
            raw=False,
            unicode_errors="surrogateescape",
            strict_map_key=False,
            max_buffer_size=max_bytes,
            # A list is allocated with its announced length, before its items arrive.
            max_array_len=max_containers or -1,
            list_hook=count,
            object_hook=count,
        )

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the complete frames. Raises WireError on invalid or oversized frames."""
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
    """LRU cache of the ENVIRONMENTS_KEPT environments that a worker used last, by id.

    Both sides keep one per connection, initially empty. For each `run` frame, in order, they call `recall`, and `keep`
    if it was missing. So the daemon knows whether it must send an environment. It keeps `None` as the value.
    """

    def __init__(self) -> None:
        self._kept: dict[int, Any] = {}

    def __contains__(self, environment_id: int) -> bool:
        return environment_id in self._kept

    def recall(self, environment_id: int) -> Any:
        """Return the value of this id and make it the most recent one. Raises KeyError if it is not cached."""
        value = self._kept.pop(environment_id)
        self._kept[environment_id] = value
        return value

    def keep(self, environment_id: int, value: Any = None) -> None:
        """Add a value as the most recent one, and drop the least recent one above ENVIRONMENTS_KEPT."""
        self._kept.pop(environment_id, None)
        self._kept[environment_id] = value
        if len(self._kept) > ENVIRONMENTS_KEPT:
            del self._kept[next(iter(self._kept))]
