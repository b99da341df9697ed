"""Many jobs, all of them or none: one call where they fit into one, else a batch. Without I/O.

The jobs of a batch are invisible until its commit. Its messages are sent ahead of their answers, so that neither side
waits for the other, and so few at a time that memory stays flat. It has a connection of its own: the daemon discards
an open batch with its connection, which is how one that fails or is interrupted goes, and no other call suffers.
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
"""Some 5 ms of work for each side: with more at a time the daemon keeps its other clients waiting for as long."""
PIECE_BYTES: Final = 4 * 1024 * 1024
"""Half of the largest message: the last job of a piece and the defaults fit into the other half."""
PIECES_AHEAD: Final = 4
"""Pieces of a batch on their way at once: the daemon stores one while the next is packed and read."""

NOTHING_STORED: Final = "nothing was stored"


class UploadItem(NamedTuple):
    """One job of an upload: its approximate size on the wire, and the name used in errors (`line 3`)."""

    job: JobMap
    size: int
    place: str = ""
    """Empty: `job 3`, counted from 1."""

    def named(self, index: int) -> str:
        """The name of the job in an error; `index`: its position in the upload, from 0."""
        return self.place or f"job {index + 1}"


class Stored(Protocol):
    """Collects the ids and seqs of stored jobs."""

    def add(self, answer: Mapping[str, Any]) -> None:
        """The daemon's answer to one message."""

    def committed(self, answer: Mapping[str, Any]) -> None:
        """Its answer to the commit of a batch."""


S = TypeVar("S", bound=Stored)
Piece = list[UploadItem]
Again = Callable[[], Iterable[UploadItem]] | None
"""Yields all items again, from the first."""


def upload_jobs(jobs: Iterable[JobLike], defaults: Mapping[str, Any]) -> Steps[Added]:
    """What a program calls it with; an error about a job says which it is, from 1. Of an iterator there is one go."""
    iterator = iter(jobs)
    again = None if iterator is jobs else lambda: map(_item, jobs)
    return upload(map(_item, iterator), laid_under(defaults), Added.none, again)


def upload(items: Iterable[UploadItem], defaults: JobMap, stored: Callable[[], S], again: Again = None) -> Steps[S]:
    """Store all of the jobs or none; the result of `stored` is told of each answer.

    `again` gives the items anew, where that can be: for a daemon that was killed before the commit, and is back.
    """
    pieces = cut(items)
    first, second = next(pieces, None), next(pieces, None)
    if first is None:
        return stored()
    if second is not None:
        whole: S = yield OnOwnConnection(_batch(chain((first, second), pieces), defaults, stored, again))
        return whole
    one = stored()
    with _telling_the_place(first, 0):
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
    """Whether the batch was committed; False: it went with its connection before that.

    ConnectionLost from the commit itself is for the caller: whether that took effect is not known.
    """
    token = (yield Call("batch.open", {"defaults": defaults}))["token"]
    waiting: dict[int, tuple[int, str]] = {}
    try:
        yield from _add_all(token, pieces, stored, waiting)
    except ConnectionLost:
        return False
    except NotFound as error:
        return _raise_unless_of(token, error)
    try:
        stored.committed((yield Call("batch.commit", {"token": token, "request": new_request()})))
    except NotFound as error:
        # Made again after the daemon was lost, it would be known by its request if it had taken effect.
        index, place = waiting.get(error.data.get("seq", 0), (0, ""))
        if place:
            told = {**error.data, "index": index}
            raise NotFound(f"{place}: {error.message.removesuffix('.')}; {NOTHING_STORED}", told) from None
        return _raise_unless_of(token, error)
    return True


def _raise_unless_of(token: str, error: NotFound) -> bool:
    """False where it is the batch that is not found: the next connection knows nothing of it."""
    if error.data.get("token") != token:
        raise error
    return False


def _add_all(
    token: str, pieces: Iterable[Piece], stored: Stored, waiting: dict[int, tuple[int, str]]
) -> Steps[None]:  # fmt: skip
    """Add them; `waiting` gets, by seq, the index and place of those that wait for others, which may not come."""
    ahead: deque[tuple[Any, Piece, int]] = deque()
    first = 0

    def take() -> Steps[None]:
        sent, piece, start = ahead.popleft()
        with _telling_the_place(piece, start):
            answer = yield Receive(sent)
        stored.add(answer)
        for at, (item, seq) in enumerate(zip(piece, answer["seqs"], strict=True)):
            if "depends_on" in item.job:
                waiting.setdefault(seq, (start + at, item.named(start + at)))

    for piece in pieces:
        if len(ahead) == PIECES_AHEAD:
            yield from take()
        with _telling_the_place(piece, first):
            sent = yield Send("batch.add", {"token": token, "jobs": _jobs(piece)})
        ahead.append((sent, piece, first))
        first += len(piece)
    while ahead:
        yield from take()


def _jobs(piece: Piece) -> list[JobMap]:
    return [item.job for item in piece]


@contextmanager
def _telling_the_place(piece: Sequence[UploadItem], first: int) -> Iterator[None]:
    """An error about a job of this piece says where that stood; `first`: the index of the piece's first among all."""
    try:
        yield
    except QueuectlError as error:
        at = error.data.get("index", _unsendable(piece) if isinstance(error, InvalidParams) else None)
        if not isinstance(at, int) or not 0 <= at < len(piece):
            raise
        words = error.message.removeprefix(f"job {at + 1}: ")
        told = {**error.data, "index": first + at}
        raise type(error)(f"{piece[at].named(first + at)}: {words.removesuffix('.')}; {NOTHING_STORED}", told) from None


def _unsendable(piece: Iterable[UploadItem]) -> int | None:
    """The index of the first job that cannot be said on the wire, if there is one."""
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
    """Its bytes on the wire; 0 for what cannot be sent, of which more is said when it is sent."""
    try:
        return len(msgpack.packb(job, unicode_errors="surrogateescape"))
    except (TypeError, ValueError, OverflowError, RecursionError):
        return 0
