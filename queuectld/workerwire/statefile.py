"""The state file of a worker: its current run, for recovery after the worker and the daemon have both died.

Written in place by one `pwrite` without fsync, since it only has to survive a kill, not a power failure. A record has
a length and a checksum, to detect one that was cut by the kill. It is not cleared when the run ends: the store has the
outcome then, and runs are fenced.
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
"""Allocated at the start, so that a record can be written to a full disk."""
MAX_RECORD_BYTES: Final = 16 * 1024 * 1024
"""Longer records are invalid and not read."""
_FLAGS: Final = os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW
"""Do not block and do not follow links, as in `queuectl_client.plainfile`, which a worker does not import."""

_packer = msgpack.Packer(unicode_errors="surrogateescape")


def path_of(state_folder: str, worker: int) -> str:
    """Return the path of a worker's state file."""
    return os.path.join(state_folder, f"worker-{worker}.state")


def open_own(path: str, flags: int) -> int:
    """Open a regular file; O_CREAT creates it with mode 0600. Raises OSError, also for other types of files."""
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
    """Open the file, create it if missing, and allocate ROOM_BYTES. Return the descriptor. Raises OSError."""
    descriptor = open_own(path, os.O_WRONLY | os.O_CREAT)
    os.posix_fallocate(descriptor, 0, ROOM_BYTES)
    return descriptor


def write(descriptor: int, record: Mapping[str, Any]) -> None:
    """Replace the record in place: {seq, run, job, pid, start_time, started_ms, boot_id, socket, worker_pid,
    worker_start_time, cgroup, mark}.

    `cgroup` is the folder of the worker's control group; None if it has none or earlier jobs left processes in it.
    `mark` is the mark of the run's processes (see `runmark`); None if the limit could not be set.
    `pid` is 0 until it is known (RUNNING_AFTER_MS after the start).
    Raises OSError.
    """
    os.pwrite(descriptor, seal(record), 0)


def read(path: str) -> dict[str, Any] | None:
    """Return the record; None if the file is missing, not a regular one, or has no valid record. Raises OSError."""
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
    """Return the record as bytes with length and checksum."""
    packed: bytes = _packer.pack(record)
    return _HEADER.pack(MAGIC, len(packed), zlib.crc32(packed)) + packed


def unseal(data: bytes) -> dict[str, Any] | None:
    """Return the record at the start of `data`, ignoring what follows; None if it is incomplete or invalid."""
    if len(data) < _HEADER.size:
        return None
    magic, length, checksum = _HEADER.unpack_from(data)
    packed = data[_HEADER.size : _HEADER.size + length]
    if magic != MAGIC or len(packed) != length or zlib.crc32(packed) != checksum:
        return None
    try:
        record = msgpack.unpackb(packed, raw=False, unicode_errors="surrogateescape", strict_map_key=False)
    except (ValueError, RecursionError):  # a correct checksum of something else
        return None
    return record if isinstance(record, dict) else None
