"""Store many jobs, all or none: in one call if they fit, else in a batch. Sans-I/O.

The jobs of a batch are invisible until its commit. Messages are pipelined, a few at a time, so that neither side waits
for the other and memory stays flat. A batch has a connection of its own: closing it discards an open batch, so a
failed or interrupted upload leaves nothing behind and affects no other call.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any, Final, NamedTuple, Protocol, TypeVar

import msgpack

from queuectl_client.calls import REPEATS, Call, OnOwnConnection, Receive, Reconnect, Send, Steps
from queuectl_client.errors import ConnectionLost, InvalidParams, NotFound, QueuectlError
from queuectl_client.protocol.rpc import request
from queuectl_client.submission import Added, JobLike, job_map, laid_under, new_request

JobMap = Mapping[str, Any]

PIECE_JOBS: Final = 250
"""About 5 ms of work on each side. Larger pieces would delay the daemon's other clients."""
PIECE_BYTES: Final = 4 * 1024 * 1024
"""Half the largest message: the other half has room for the last job of a piece and the defaults."""
PIECES_AHEAD: Final = 4
"""Pieces of a batch in flight: the daemon stores one while the next is packed and read."""

NOTHING_STORED: Final = "nothing was stored"


class UploadItem(NamedTuple):
    """One job of an upload: its approximate size on the wire, and the name used in errors (`line 3`)."""

    job: JobMap
    size: int
    place: str = ""
    """Empty: `job 3`, counted from 1."""

    def named(self, index: int) -> str:
        """Return the name of the job for errors; `index`: its position in the upload, from 0."""
        return self.place or f"job {index + 1}"


class Stored(Protocol):
    """Collects the ids and seqs of stored jobs."""

    def add(self, answer: Mapping[str, Any]) -> None:
        """Add the jobs of the daemon's answer to one message."""

    def committed(self, answer: Mapping[str, Any]) -> None:
        """Handle the daemon's answer to the commit of a batch."""


S = TypeVar("S", bound=Stored)
Piece = list[UploadItem]
Again = Callable[[], Iterable[UploadItem]] | None
"""Yields all items again, from the first."""


def upload_jobs(jobs: Iterable[JobLike], defaults: Mapping[str, Any]) -> Steps[Added]:
    """Store these jobs or none. Errors name the job, from 1. An iterator is not read again after a lost connection."""
    iterator = iter(jobs)
    again = None if iterator is jobs else lambda: map(_item, jobs)
    return upload(map(_item, iterator), laid_under(defaults), Added.none, again)


def upload(items: Iterable[UploadItem], defaults: JobMap, stored: Callable[[], S], again: Again = None) -> Steps[S]:
    """Store all of the jobs or none; each answer is passed to the object that `stored` returns.

    `again` returns the items anew, to repeat the upload if the daemon was killed before the commit and is back.
    """
    pieces = cut(items)
    first, second = next(pieces, None), next(pieces, None)
    if first is None:
        return stored()
    if second is not None:
        whole: S = yield OnOwnConnection(_batch(chain((first, second), pieces), defaults, stored, again))
        return whole
    one = stored()
    with _naming_the_job(first, 0):
        one.add((yield Call("enqueue_many", {"jobs": _jobs(first), "defaults": defaults, "request": new_request()})))
    return one


def cut(items: Iterable[UploadItem]) -> Iterator[Piece]:
    """Split the items into lists that each fit into a message."""
    piece: Piece = []
    size = 0
    for item in items:
        piece.append(item)
        size += item.size
        if len(piece) == PIECE_JOBS or size >= PIECE_BYTES:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece


def _batch(pieces: Iterable[Piece], defaults: JobMap, stored: Callable[[], S], again: Again) -> Steps[S]:
    left = REPEATS
    while True:
        whole = stored()
        if (yield from _committed(pieces, defaults, whole)):
            return whole
        if again is None or not left:
            raise ConnectionLost(f"the daemon went away before it had all of the jobs; {NOTHING_STORED}")
        left -= 1
        yield Reconnect(start=True)
        pieces = cut(again())


def _committed(pieces: Iterable[Piece], defaults: JobMap, stored: Stored) -> Steps[bool]:
    """Return whether the batch was committed; False: its connection was lost before the commit.

    Raise ConnectionLost if it was lost during the commit: it is not known whether that took effect.
    """
    token = (yield Call("batch.open", {"defaults": defaults}))["token"]
    waiting: dict[int, tuple[int, str]] = {}
    try:
        yield from _add_all(token, pieces, stored, waiting)
    except ConnectionLost:
        return False
    except NotFound as error:
        return _raise_unless_batch(token, error)
    try:
        stored.committed((yield Call("batch.commit", {"token": token, "request": new_request()})))
    except NotFound as error:
        # A commit repeated after a lost connection is recognized by its request id if it took effect.
        index, place = waiting.get(error.data.get("seq", 0), (0, ""))
        if place:
            data = {**error.data, "index": index}
            raise NotFound(f"{place}: {error.message.removesuffix('.')}; {NOTHING_STORED}", data) from None
        return _raise_unless_batch(token, error)
    return True


def _raise_unless_batch(token: str, error: NotFound) -> bool:
    """Return False if the batch itself is not found: a new connection does not have it. Raise any other error."""
    if error.data.get("token") != token:
        raise error
    return False


def _add_all(
    token: str, pieces: Iterable[Piece], stored: Stored, waiting: dict[int, tuple[int, str]]
) -> Steps[None]:  # fmt: skip
    """Add the jobs; `waiting` maps the seq of each job with dependencies to its index and place, for commit errors."""
    ahead: deque[tuple[Any, Piece, int]] = deque()
    first = 0

    def take() -> Steps[None]:
        sent, piece, start = ahead.popleft()
        with _naming_the_job(piece, start):
            answer = yield Receive(sent)
        stored.add(answer)
        for at, (item, seq) in enumerate(zip(piece, answer["seqs"], strict=True)):
            if "depends_on" in item.job:
                waiting.setdefault(seq, (start + at, item.named(start + at)))

    for piece in pieces:
        if len(ahead) == PIECES_AHEAD:
            yield from take()
        with _naming_the_job(piece, first):
            sent = yield Send("batch.add", {"token": token, "jobs": _jobs(piece)})
        ahead.append((sent, piece, first))
        first += len(piece)
    while ahead:
        yield from take()


def _jobs(piece: Piece) -> list[JobMap]:
    return [item.job for item in piece]


@contextmanager
def _naming_the_job(piece: Sequence[UploadItem], first: int) -> Iterator[None]:
    """Add the place of the job to an error about a job of this piece. `first`: index of its first job in the upload."""
    try:
        yield
    except QueuectlError as error:
        at = error.data.get("index", _unsendable(piece) if isinstance(error, InvalidParams) else None)
        if not isinstance(at, int) or not 0 <= at < len(piece):
            raise
        words = error.message.removeprefix(f"job {at + 1}: ")
        data = {**error.data, "index": first + at}
        raise type(error)(f"{piece[at].named(first + at)}: {words.removesuffix('.')}; {NOTHING_STORED}", data) from None


def _unsendable(piece: Iterable[UploadItem]) -> int | None:
    """Return the index of the first job that cannot be encoded, or None."""
    for at, item in enumerate(piece):
        try:
            request(0, "enqueue", item.job)
        except ValueError:
            return at
    return None


def _item(job: JobLike) -> UploadItem:
    described = job_map(job)
    return UploadItem(described, _size(described))


def _size(job: JobMap) -> int:
    """Return the size on the wire in bytes; 0 if the job cannot be encoded, which sending it reports."""
    try:
        return len(msgpack.packb(job, unicode_errors="surrogateescape"))
    except (TypeError, ValueError, OverflowError, RecursionError):
        return 0
