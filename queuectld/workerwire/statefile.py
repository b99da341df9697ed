"""The state file of a worker: which run it has in hand, for a daemon that finds worker and daemon both dead.

Written in place by one `pwrite` and never synced: it has to survive a kill, not a power cut. A record carries its
length and checksum, so that one torn by the kill is noticed. What a record means is for recovery to judge; a record
is not cleared when its run ends, since the store knows by then (and fences by run).
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import zlib

import msgpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

MAGIC: Final = b"QJS1"
_HEADER: Final = struct.Struct("<4sII")
ROOM_BYTES: Final = 4096
"""Set aside at the start, so that a record can be written on a disk that has become full."""
MAX_RECORD_BYTES: Final = 16 * 1024 * 1024
"""Far above any record; a length past it is rubbish and is not allocated."""
_FLAGS: Final = os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW
"""As `queuectl_client.plainfile`, which a worker does not load: nothing here waits, or follows a link."""

_packer = msgpack.Packer(unicode_errors="surrogateescape")


def path_of(state_folder: str, worker: int) -> str:
    """Where worker number `worker` keeps its state file."""
    return os.path.join(state_folder, f"worker-{worker}.state")


def open_own(path: str, flags: int) -> int:
    """A descriptor of a regular file of a worker, made 0600 if need be. Raises OSError for anything else there."""
    try:
        descriptor = os.open(path, flags | _FLAGS, 0o600)
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ENODEV, errno.EISDIR):  # a FIFO or socket, a device, a folder
            raise OSError(errno.EINVAL, "it is not a regular file", path) from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a regular file", path)
    return descriptor


def open_for_writing(path: str) -> int:
    """A descriptor on the file, created 0600 if need be, with room set aside. The caller closes it. Raises OSError."""
    descriptor = open_own(path, os.O_WRONLY | os.O_CREAT)
    os.posix_fallocate(descriptor, 0, ROOM_BYTES)
    return descriptor


def write(descriptor: int, record: Mapping[str, Any]) -> None:
    """Replace the record in place: {seq, run, job, pid, start_time, started_ms, boot_id, socket, worker_pid,
    worker_start_time, cgroup, mark}.

    `cgroup` is the folder of the worker's control group; None where it has none, or shares it with earlier jobs.
    `mark` is what all processes of the run bear (see `mark`); None where no limit could be set.
    `pid` is 0 until it is known (RUNNING_AFTER_MS after the start).
    Raises OSError.
    """
    os.pwrite(descriptor, seal(record), 0)


def read(path: str) -> dict[str, Any] | None:
    """The record, or None where there is no file or no whole record in it, or something else lies there."""
    try:
        with open(open_own(path, os.O_RDONLY), "rb", buffering=0) as file:
            return unseal(file.read(MAX_RECORD_BYTES) or b"")
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ELOOP):
            return None
        raise


def seal(record: Mapping[str, Any]) -> bytes:
    """The record as bytes that `unseal` can check."""
    packed: bytes = _packer.pack(record)
    return _HEADER.pack(MAGIC, len(packed), zlib.crc32(packed)) + packed


def unseal(data: bytes) -> dict[str, Any] | None:
    """The record at the start of `data`, or None when it is torn or rubbish. What follows it is not looked at."""
    if len(data) < _HEADER.size:
        return None
    magic, length, checksum = _HEADER.unpack_from(data)
    packed = data[_HEADER.size : _HEADER.size + length]
    if magic != MAGIC or len(packed) != length or zlib.crc32(packed) != checksum:
        return None
    try:
        record = msgpack.unpackb(packed, raw=False, unicode_errors="surrogateescape", strict_map_key=False)
    except (ValueError, RecursionError):  # its checksum is right, so it is no record of ours
        return None
    return record if isinstance(record, dict) else None
