"""Notes every file and folder that is made below a folder, by inotify(7): whoever makes it, however short it lives."""

import ctypes
import os
import struct
from pathlib import Path

IN_MOVED_TO, IN_CREATE = 0x80, 0x100
HEAD = struct.Struct("iIII")
READ_BYTES = 64 * 1024
_libc = ctypes.CDLL(None, use_errno=True)


class Creations:
    """A context manager that watches the folder, and all that are in it when it begins."""

    def __init__(self, folder: Path) -> None:
        self._folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
        self._descriptor = -1

    def __enter__(self) -> "Creations":
        self._descriptor = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        for folder in self._folders:
            if _libc.inotify_add_watch(self._descriptor, os.fsencode(folder), IN_CREATE | IN_MOVED_TO) < 0:
                raise OSError(ctypes.get_errno(), f"cannot watch {folder}")
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def names(self) -> list[str]:
        """The names of what was made since the last look, in their order."""
        try:
            data = os.read(self._descriptor, READ_BYTES)
        except BlockingIOError:
            return []
        found = []
        while data:
            *_, length = HEAD.unpack_from(data)
            found.append(os.fsdecode(data[HEAD.size : HEAD.size + length].rstrip(b"\0")))
            data = data[HEAD.size + length :]
        return found
