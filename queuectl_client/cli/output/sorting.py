"""External merge sort: sort runs that fit into memory, write them to files, merge the files.

See Knuth, The Art of Computer Programming 3, 5.4: External Sorting. Sorts lists of values that MessagePack can encode.
"""

import heapq
import tempfile
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import IO, Any, Final

import msgpack

Rank = list[Any]

RUN: Final = 50_000
"""Ranks in memory at a time: about 10 MB."""


def sort(ranks: Iterable[Rank], *, reverse: bool = False) -> Iterator[Rank]:
    """Return the ranks in order. Memory is bounded: more than one run is written to temporary files."""
    source = iter(ranks)
    run = sorted(islice(source, RUN), reverse=reverse)
    if len(run) < RUN:
        return iter(run)
    files = []
    while run:
        files.append(_spill(run))
        run = sorted(islice(source, RUN), reverse=reverse)
    return heapq.merge(*map(_read, files), reverse=reverse)


def first(count: int, ranks: Iterable[Rank], *, reverse: bool = False) -> Iterator[Rank]:
    """Return the first `count` ranks in order."""
    if count > RUN:
        return islice(sort(ranks, reverse=reverse), count)
    return iter((heapq.nlargest if reverse else heapq.nsmallest)(count, ranks))


def _spill(run: Iterable[Rank]) -> IO[bytes]:
    """Write the run to a temporary file, which is removed when its reader closes it."""
    file = tempfile.TemporaryFile(prefix="queuectl-sort-")  # noqa: SIM115  (its reader closes it)
    packer = msgpack.Packer()
    file.writelines(packer.pack(rank) for rank in run)
    file.seek(0)
    return file


def _read(file: IO[bytes]) -> Iterator[Rank]:
    with file:
        yield from msgpack.Unpacker(file, read_size=64 * 1024)
