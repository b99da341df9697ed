"""A client that is no more than a socket and bytes, and what a process holds of the machine."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from queuectl_client.protocol import rpc

DEADLINE_S = 30


@contextmanager
def connected(path: Path) -> Iterator[socket.socket]:
    """A connection that reads nothing by itself; no wait on it is longer than DEADLINE_S."""
    with socket.socket(socket.AF_UNIX) as end:
        end.settimeout(DEADLINE_S)
        end.connect(str(path))
        yield end


def answers(end: socket.socket, count: int) -> list[Any]:
    """The next so many messages. Fails when the daemon hangs up before."""
    decoder = rpc.Decoder()
    found: list[Any] = []
    while len(found) < count:
        piece = end.recv(1 << 16)
        assert piece, f"closed after {found}"
        found += decoder.feed(piece)
    return found


def all_that_comes(end: socket.socket) -> bytes:
    """What comes until the other side hangs up, however rudely."""
    said = b""
    try:
        while piece := end.recv(1 << 16):
            said += piece
    except ConnectionError:
        pass  # it had not read all that was sent
    return said


def send_as_much_as_goes(end: socket.socket, frames: Iterator[bytes]) -> bool:
    """Send frames until the other side takes no more of them for a second. False: it hung up instead."""
    end.settimeout(1)
    try:
        for frame in frames:
            end.sendall(frame)
    except TimeoutError:
        pass
    except ConnectionError:
        return False
    end.settimeout(DEADLINE_S)
    return True


def memory_kib(pid: int) -> int:
    """What a process holds of the machine's memory, shared pages by their share (PSS)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def descriptors(pid: int) -> int:
    """How many files a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))
