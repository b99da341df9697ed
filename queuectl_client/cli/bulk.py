"""`queuectl enqueue -f FILE`: many jobs, all of them or none, at the speed of the daemon.

One call where they fit into one; else a batch, whose jobs are invisible until its commit. The messages are sent
ahead of their answers, so that neither side waits for the other, and so few at a time that memory stays flat.
"""

import os
import sys
from collections import deque
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple

from queuectl_client.cli.enqueue import hint_at_workers
from queuectl_client.cli.invocation import Invocation
from queuectl_client.cli.jobjson import drop_unknown, parse
from queuectl_client.cli.joboptions import JobMap, lay_over
from queuectl_client.errors import InvalidParams, QueuectlError
from queuectl_client.protocol.rpc import request
from queuectl_client.session import SLOW_PATIENCE_S
from queuectl_client.submission import PIECE_BYTES, PIECE_JOBS, Added, capture, new_request

if TYPE_CHECKING:
    from queuectl_client.connection import Connection

LONGEST_LINE: Final = 2 * 1024 * 1024
"""A line may fill a piece and the next one overfill it: together they still fit into a message."""
MESSAGES_AHEAD: Final = 4


class Piece(NamedTuple):
    """The jobs of one message, and the number of the line each stood on."""

    jobs: list[JobMap]
    lines: list[int]


class Reader:
    """Reads the lines of a file as jobs, with the options laid over each."""

    def __init__(self, invocation: Invocation, options: JobMap, *, shell: bool, lenient: bool) -> None:
        self._say = invocation.say
        self._options = options
        self._shell = shell
        self._lenient = lenient
        around = capture()
        self._cwd: str = around["cwd"]
        self.defaults = {**around, **options}
        _settle_cwd(self.defaults, self._cwd)

    def pieces(self, file: BinaryIO) -> Iterator[Piece]:
        """The jobs, a message's worth at a time. Raises InvalidParams that names the line of a bad one."""
        jobs: list[JobMap] = []
        lines: list[int] = []
        size = 0
        for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE), b""), 1):
            if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
                raise InvalidParams(f"line {number}: it is longer than {LONGEST_LINE:,} bytes")
            text = line.decode("utf-8", "surrogateescape").strip("\r\n" if number > 1 else "\r\n\ufeff")
            if not text or text.isspace():
                continue
            jobs.append(self._job(text, number))
            lines.append(number)
            size += len(line)
            if len(jobs) >= PIECE_JOBS or size >= PIECE_BYTES:
                yield Piece(jobs, lines)
                jobs, lines, size = [], [], 0
        if jobs:
            yield Piece(jobs, lines)

    def _job(self, text: str, number: int) -> JobMap:
        if self._shell or not text.lstrip().startswith("{"):
            return {"command": text}
        try:
            job = parse(text)
        except InvalidParams as error:
            raise InvalidParams(f"line {number}: {error.message}; nothing was stored") from None
        if self._lenient:
            drop_unknown(job, lambda warning: self._say(f"line {number}: {warning}"))
        job = lay_over(job, self._options)
        _settle_cwd(job, self._cwd)
        return job


def enqueue_file(invocation: Invocation, name: str, options: JobMap, *, shell: bool, lenient: bool, wait: bool) -> int:
    """Enqueue every line of the file (`-`: stdin) and tell their ids; nothing is stored when one line is bad."""
    reader = Reader(invocation, options, shell=shell, lenient=lenient)
    try:
        file = sys.stdin.buffer if name == "-" else open(name, "rb")  # noqa: SIM115  closed below
    except OSError as error:
        raise InvalidParams(f"{name}: {error.strerror}") from None
    with file:
        stored = _send(invocation.client(), reader, reader.pieces(file))
    if not stored.ids:
        if invocation.json:
            invocation.document([])
        invocation.say("No jobs: there was no line with a command.")
        return 0
    if not (wait and invocation.json):
        _announce(invocation, stored)
    if wait:
        from queuectl_client.cli.wait import wait_for

        return wait_for(invocation, stored.ids, exit_status=True)
    return 0


def _send(client: "Connection", reader: Reader, pieces: Iterator[Piece]) -> Added:
    first = next(pieces, None)
    if first is None:
        return Added([], [])
    second = next(pieces, None)
    if second is None:
        answer = _blaming_the_line(
            first, lambda: client.call("enqueue_many", jobs=first.jobs, defaults=reader.defaults, request=new_request())
        )
        return Added(answer["ids"], answer["seqs"])
    return _send_batch(client, reader, _chain(first, second, pieces))


def _chain(first: Piece, second: Piece, rest: Iterator[Piece]) -> Iterator[Piece]:
    yield first
    yield second
    yield from rest


def _send_batch(client: "Connection", reader: Reader, pieces: Iterator[Piece]) -> Added:
    token = client.call("batch.open", defaults=reader.defaults)["token"]
    stored = Added([], [])
    ahead: deque[tuple[int, Piece]] = deque()

    def take() -> None:
        msgid, piece = ahead.popleft()
        answer = _blaming_the_line(piece, lambda: client.result(msgid, SLOW_PATIENCE_S))
        stored.ids.extend(answer["ids"])
        stored.seqs.extend(answer["seqs"])

    for piece in pieces:
        params = {"token": token, "jobs": piece.jobs}
        ahead.append((_blaming_the_line(piece, partial(client.send, "batch.add", params)), piece))
        if len(ahead) > MESSAGES_AHEAD:
            take()
    while ahead:
        take()
    client.call("batch.commit", token=token, request=new_request())
    return stored


def _blaming_the_line(piece: Piece, call: Any) -> Any:
    """What the call answers; an error about a job of this piece says which line it stood on."""
    try:
        return call()
    except QueuectlError as error:
        index = error.data.get("index", _unsendable(piece) if isinstance(error, InvalidParams) else None)
        if not isinstance(index, int) or not 0 <= index < len(piece.lines):
            raise
        words = error.message.removeprefix(f"job {index + 1}: ")
        raise type(error)(f"line {piece.lines[index]}: {words}; nothing was stored", error.data) from None


def _settle_cwd(job: JobMap, here: str) -> None:
    """Make the job's folder absolute, seen from here."""
    if isinstance(job.get("cwd"), str):
        job["cwd"] = os.path.join(here, job["cwd"])


def _unsendable(piece: Piece) -> int | None:
    """The index of the first job that cannot be said on the wire, if there is one."""
    for index, job in enumerate(piece.jobs):
        try:
            request(0, "enqueue", job)
        except ValueError:
            return index
    return None


def _announce(invocation: Invocation, stored: Added) -> None:
    if invocation.json:
        from queuectl_client.cli.documents import write_array
        from queuectl_client.cli.listing import pages

        ours = set(stored.seqs)
        selector = f"{min(ours)}-{max(ours)}"
        write_array(job for job in pages(invocation, ids=[selector]) if job["seq"] in ours)
        return
    before = "" if invocation.quiet else "Job enqueued with ID: "
    for start in range(0, len(stored.ids), 1000):
        sys.stdout.write("".join(f"{before}{job}\n" for job in stored.ids[start : start + 1000]))
    hint_at_workers(invocation)
