"""Many jobs at once, all of them or none, at the speed of the daemon.

One call where they fit into one; else a batch, whose jobs are invisible until its commit. The messages are sent
ahead of their answers, so that neither side waits for the other, and so few at a time that memory stays flat.
"""

import sys
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import chain, islice
from typing import Any, Final, NamedTuple

from queuectl_client.cli.invocation import Invocation
from queuectl_client.cli.jobinput.options import JobMap
from queuectl_client.cli.jobinput.sources import Entry
from queuectl_client.connection import Connection
from queuectl_client.errors import InvalidParams, QueuectlError
from queuectl_client.protocol.rpc import request
from queuectl_client.session import SLOW_PATIENCE_S
from queuectl_client.submission import PIECE_BYTES, PIECE_JOBS, new_request

MESSAGES_AHEAD: Final = 4
_LINES_A_WRITE: Final = 1000


class Piece(NamedTuple):
    """The jobs of one message, and the place that each is told by."""

    jobs: list[JobMap]
    places: list[str]


class Stored:
    """Which jobs were stored, in their order. A million that have no id of their own take up next to nothing."""

    def __init__(self) -> None:
        self._firsts = array("q")
        """Of each run of jobs that follow one another: its place among all."""
        self._seqs = array("q")
        """The number of the first of each run."""
        self._named: dict[int, str] = {}
        """By place: ids that are not `job_` and the number."""
        self.skipped: set[int] = set()
        self.count = 0

    def add(self, answer: dict[str, Any]) -> None:
        """The daemon's answer to one message."""
        self.skipped.update(self.count + place for place in answer.get("skipped", ()))
        for id, seq in zip(answer["ids"], answer["seqs"], strict=True):
            if not self._seqs or seq != self._seqs[-1] + self.count - self._firsts[-1]:
                self._firsts.append(self.count)
                self._seqs.append(seq)
            if id != f"job_{seq}":
                self._named[self.count] = id
            self.count += 1

    def seqs(self) -> Iterator[int]:
        """The numbers."""
        ends = [*self._firsts[1:], self.count]
        for first, end, seq in zip(self._firsts, ends, self._seqs, strict=True):
            yield from range(seq, seq + end - first)

    def spans(self) -> Iterator[str]:
        """Selectors that stand for them, a word for each run. Of 15 digits, as nobody's id is."""
        ends = [*self._firsts[1:], self.count]
        for first, end, seq in zip(self._firsts, ends, self._seqs, strict=True):
            yield f"{seq:015}-{seq + end - first - 1:015}"

    def ids(self) -> Iterator[str]:
        """The ids."""
        for place, seq in enumerate(self.seqs()):
            yield self._named.get(place) or f"job_{seq}"

    def place_of(self, seq: object) -> int | None:
        """Where the job of this number stands among all."""
        return next((place for place, each in enumerate(self.seqs()) if each == seq), None)


def store_all(client: Connection, defaults: JobMap, entries: Iterable[Entry]) -> Stored:
    """Store all of the jobs or none; an error about one says where it came from."""
    pieces = _pieces(entries)
    first, second = next(pieces, None), next(pieces, None)
    stored = Stored()
    if first is None:
        return stored
    if second is not None:
        _store_batch(client, defaults, chain((first, second), pieces), stored)
        return stored
    call = partial(client.call, "enqueue_many", jobs=first.jobs, defaults=defaults, request=new_request())
    stored.add(_blaming_the_place(first, call))
    return stored


def _pieces(entries: Iterable[Entry]) -> Iterator[Piece]:
    jobs: list[JobMap] = []
    places: list[str] = []
    size = 0
    for job, place, job_size in entries:
        jobs.append(job)
        places.append(place)
        size += job_size
        if len(jobs) >= PIECE_JOBS or size >= PIECE_BYTES:
            yield Piece(jobs, places)
            jobs, places, size = [], [], 0
    if jobs:
        yield Piece(jobs, places)


def _store_batch(client: Connection, defaults: JobMap, pieces: Iterator[Piece], stored: Stored) -> None:
    token = client.call("batch.open", defaults=defaults)["token"]
    ahead: deque[tuple[int, Piece]] = deque()
    waiting: dict[int, str] = {}
    """The places of those that wait for others, which may not come; by their place among all."""
    sent = 0

    def take() -> None:
        msgid, piece = ahead.popleft()
        stored.add(_blaming_the_place(piece, lambda: client.result(msgid, SLOW_PATIENCE_S)))

    for piece in pieces:
        waiting.update((sent + at, piece.places[at]) for at, job in enumerate(piece.jobs) if "depends_on" in job)
        sent += len(piece.jobs)
        params = {"token": token, "jobs": piece.jobs}
        ahead.append((_blaming_the_place(piece, partial(client.send, "batch.add", params)), piece))
        if len(ahead) > MESSAGES_AHEAD:
            take()
    while ahead:
        take()
    try:
        client.call("batch.commit", token=token, request=new_request())
    except QueuectlError as error:
        at = stored.place_of(error.data.get("seq"))
        if at not in waiting:
            raise
        raise type(error)(f"{waiting[at]}: {error.message}; nothing was stored", error.data) from None


def _blaming_the_place(piece: Piece, call: Callable[[], Any]) -> Any:
    """What the call answers; an error about a job of this piece says which line it stood on."""
    try:
        return call()
    except QueuectlError as error:
        index = error.data.get("index", _unsendable(piece) if isinstance(error, InvalidParams) else None)
        if not isinstance(index, int) or not 0 <= index < len(piece.places):
            raise
        words = error.message.removeprefix(f"job {index + 1}: ")
        raise type(error)(f"{piece.places[index]}: {words}; nothing was stored", error.data) from None


def _unsendable(piece: Piece) -> int | None:
    """The index of the first job that cannot be said on the wire, if there is one."""
    for index, job in enumerate(piece.jobs):
        try:
            request(0, "enqueue", job)
        except ValueError:
            return index
    return None


def announce_all(invocation: Invocation, stored: Stored) -> None:
    """Tell the jobs: their ids a line each, or with --json the jobs."""
    if invocation.json:
        from queuectl_client.cli.output.jsonlines import write_array

        write_array(_jobs(invocation, stored))
        return
    before = "" if invocation.quiet else "Job enqueued with ID: "
    lines = (
        id if place in stored.skipped else f"{before}{id}" for place, id in enumerate(stored.ids())
    )  # fmt: skip
    while some := list(islice(lines, _LINES_A_WRITE)):
        sys.stdout.write("\n".join(some) + "\n")
    if stored.skipped:
        invocation.say(
            f"{len(stored.skipped):,} of them were there already, with the same unique key; nothing enqueued for these"
        )


def _jobs(invocation: Invocation, stored: Stored) -> Iterator[Mapping[str, Any]]:
    from queuectl_client.cli.output.listing import pages

    seqs = stored.seqs()
    while some := list(islice(seqs, _LINES_A_WRITE)):
        yield from pages(invocation, seqs=some)
