"""External merge sort: runs that fit into memory are sorted, written to files, and merged.

Knuth, The Art of Computer Programming 3, 5.4: external sorting. What is sorted are lists of plain values, as
MessagePack keeps them.
"""

import heapq
import tempfile
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import IO, Any, Final

import msgpack

Rank = list[Any]

RUN: Final = 50_000
"""Ranks that are held at a time: about 10 MB."""


def sort(ranks: Iterable[Rank], *, reverse: bool = False) -> Iterator[Rank]:
    """The ranks in order. Memory does not grow with their number; beyond one run they lie in temporary files."""
    source = iter(ranks)
    run = sorted(islice(source, RUN), reverse=reverse)
    if len(run) < RUN:
        return iter(run)
    files = []
    while run:
        files.append(_laid_down(run))
        run = sorted(islice(source, RUN), reverse=reverse)
    return heapq.merge(*map(_read, files), reverse=reverse)


def first(count: int, ranks: Iterable[Rank], *, reverse: bool = False) -> Iterator[Rank]:
    """The first `count` of them in order."""
    if count > RUN:
        return islice(sort(ranks, reverse=reverse), count)
    return iter((heapq.nlargest if reverse else heapq.nsmallest)(count, ranks))


def _laid_down(run: Iterable[Rank]) -> IO[bytes]:
    """A temporary file with the run; it is gone with its last reader."""
    file = tempfile.TemporaryFile(prefix="queuectl-sort-")  # noqa: SIM115  (its reader closes it)
    packer = msgpack.Packer()
    file.writelines(packer.pack(rank) for rank in run)
    file.seek(0)
    return file


def _read(file: IO[bytes]) -> Iterator[Rank]:
    with file:
        yield from msgpack.Unpacker(file, read_size=64 * 1024)
