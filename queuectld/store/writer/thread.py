"""The one thread that writes. Whatever queued up during one fsync shares the next: group commit without a timer.

A request is a function of the session. Each has a savepoint, so that one that fails undoes no neighbour.
It runs again from the start when the disk was full, so it must change nothing but the session.
"""

import asyncio
import contextlib
import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final, NamedTuple, TypeVar

from queuectl_client.protocol.vocabulary import ErrorCode
from queuectld import failpoints
from queuectld.domain.errors import Refused
from queuectld.store.mapping.connection import BUSY_MS
from queuectld.store.mapping.files import FileIdentity, is_disk_full
from queuectld.store.records import Committed, StoreFailed
from queuectld.store.writer.cache import read_settings
from queuectld.store.writer.disk_space import DiskSpace
from queuectld.store.writer.futures import complete
from queuectld.store.writer.session import Session

T = TypeVar("T")
MAX_GROUP_WEIGHT: Final = 1_000
"""Rows, about, that share a commit: some 15 ms of work, so that nobody waits long behind a bulk."""
CHECKPOINT_CHANGES: Final = 20_000
"""Rows changed since the last checkpoint before the next one (a log of about 8 MiB)."""
CHECKPOINT_COMMITS: Final = 500
"""The same in commits, of about ten pages each."""
PATIENT_COMMITS: Final = 50
"""For how many commits one that gives pages back counts: it writes some hundreds of them."""
LONG_LOG_PAGES: Final = 4_096
"""Past this (16 MiB) a checkpoint waits for the readers a moment, so that the log begins anew. By itself it does that
only where, at the first write after a whole checkpoint, nobody reads what was before it."""
READER_MS: Final = 30
"""For so long a checkpoint waits for who reads."""
FULL: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE})
BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
GONE_WRONG: Final = frozenset({
    sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH,
})  # fmt: skip
"""Errors that no repeat mends. An fsync is never tried twice: the pages it changed_path would be taken for written."""
NOTHING: Final = "nothing was stored"
STAYS: Final = "the daemon stops. All that was acknowledged is on disk, in the log beside the store"
UNKNOWN: Final = "All that was acknowledged is on disk; of what was not, it is not known."
log = logging.getLogger(__name__)


class WriteRequest(NamedTuple):
    """A request that waits for its turn. `idle_only`: its turn comes when nobody else waits."""

    run: Callable[[Session], Any]
    future: "asyncio.Future[Any]"
    weight: int
    idle_only: bool = False


class Result(NamedTuple):
    """What became of a request."""

    future: "asyncio.Future[Any]"
    value: Any
    error: BaseException | None


class Writer:
    """Takes requests from the event loop and answers them there, once they are on disk."""

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection,
        session: Session,
        loop: asyncio.AbstractEventLoop,
        deliver: Callable[[Committed, dict[str, object] | None, dict[str, object] | None], None],
        on_broken: Callable[[StoreFailed], None],
    ) -> None:
        self._path = path
        self._file_identity = FileIdentity(path)
        self._connection = connection
        self._disk_space = DiskSpace(path, connection)
        self._session = session
        self._loop = loop
        self._deliver = deliver
        self._on_broken = on_broken
        self._queue: SimpleQueue[WriteRequest | None] = SimpleQueue()
        self._broken: StoreFailed | None = None
        self._idle_requests: deque[WriteRequest] = deque()
        self._commits = 0
        self._changes = connection.total_changes
        self._thread = threading.Thread(target=self._work, name="store-writer", daemon=True)

    @property
    def is_broken(self) -> bool:
        """Whether an error ended all writing. Its connection may then be closed only while a reader's is open."""
        return self._broken is not None

    def start(self) -> None:
        """Begin to take requests."""
        self._thread.start()

    def submit(self, run: Callable[[Session], T], weight: int = 1) -> "asyncio.Future[T]":
        """Have `run` carried out in a commit; the future is done when it is on disk, or refused.

        Who stops waiting before it has begun undoes it; who stops later does not.
        """
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put(WriteRequest(run, future, weight))
        return future

    def when_idle(self, run: Callable[[Session], T]) -> "asyncio.Future[T]":
        """As `submit`, in a commit of its own, once nobody else waits. Who comes meanwhile waits for it."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put(WriteRequest(run, future, 1, idle_only=True))
        return future

    def empty_log(self) -> "asyncio.Future[bool]":
        """Once nobody else waits, move all of the log into the file and cut it to nothing. False: somebody reads it."""
        future: asyncio.Future[bool] = self._loop.create_future()
        self._queue.put(WriteRequest(_log_is_to_be_empty, future, 1, idle_only=True))
        return future

    def stop(self) -> None:
        """Carry out what waits, then end the thread and close the connection. Called on another thread."""
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        going = True
        while going:
            group, going = self._gather()
            try:
                if group:
                    (self._empty_log if group[0].run is _log_is_to_be_empty else self._carry_out)(group)
                if not going and self._broken is None:
                    self._checkpoint("TRUNCATE")
            except BaseException as error:
                self._fail(group, error)
        # SQLite's last connection moves the log into the file when it is closed. After an I/O error the log is to
        # stay as it is for the next daemon, so the reader's connection must then still be open.
        self._connection.close()

    def _fail(self, group: Sequence[WriteRequest], error: BaseException) -> None:
        """Go on after a fault of ours: were this thread to end, all who ask would wait for ever, and nobody know."""
        log.critical("a fault in the thread that writes", exc_info=error)
        with contextlib.suppress(sqlite3.Error):
            self._roll_back()
        broken = self._break(f"{_fault(error)} in the thread that writes; the daemon stops. {UNKNOWN}")
        # Who was answered before the fault keeps that answer: it is under way to the loop already.
        self._refuse(group, broken)

    def _gather(self) -> tuple[list[WriteRequest], bool]:
        """All that waits, up to a weight; False: nothing comes after it."""
        group: list[WriteRequest] = []
        weight = 0
        while weight < MAX_GROUP_WEIGHT:
            try:
                request = self._queue.get(block=not group and not self._idle_requests)
            except Empty:
                break
            if request is None:
                return [*group, *self._idle_requests], False
            if request.idle_only:
                self._idle_requests.append(request)
                continue
            # Looked at before the work begins: whoever gave up by now is not stored, later ones are.
            if not request.future.cancelled():
                group.append(request)
                weight += request.weight
        if not group and self._idle_requests:
            group.append(self._idle_requests.popleft())
        return group, True

    def _carry_out(self, group: Sequence[WriteRequest], *, again: bool = False) -> None:
        """Carry out requests in one commit and answer them. `again`: there was no room, and some has been made."""
        if self._broken is not None:
            self._refuse(group, self._broken)
            return
        start = self._session.savepoint()
        execute = self._connection.execute
        results: list[Result] = []
        try:
            execute("BEGIN IMMEDIATE")
            self._disk_space.begin()
            failpoints.reached("store.begun")
            for request in group:
                results.append(self._run(request, alone=len(group) == 1))
            if self._connection.in_transaction:
                self._session.flush()
                self._disk_space.check()
                failpoints.reached("store.written")
                execute("COMMIT")
                failpoints.reached("store.committed")
        except sqlite3.Error as error:
            # The whole transaction is gone, whatever the savepoints say.
            self._roll_back()
            self._session.rollback(start)
            self._explain(error, group, again=again)
            return
        # What was written to a file that has no name any more is gone with this process: not to be acknowledged.
        if (path := self._file_identity.changed_path()) is not None:
            broken = self._break(
                f"The store's file {path} was removed or replaced under the daemon, which stops; put it back, or begin"
                " with an empty store. What it was told just now is not stored."
            )
            self._refuse(group, broken)
            return
        settings, values = None, None
        if self._session.settings_changed:
            settings, values = read_settings(self._connection)
            self._session.settings_changed = False
        self._call(self._answer, self._session.committed(), settings, values, results)
        self._commits += PATIENT_COMMITS if group[0].idle_only else 1
        changes = self._connection.total_changes - self._changes
        if self._commits >= CHECKPOINT_COMMITS or changes >= CHECKPOINT_CHANGES or self._disk_space.checkpoint_due:
            self._checkpoint("PASSIVE")

    def _run(self, request: WriteRequest, *, alone: bool) -> Result:
        """Carry out one request; when it fails, it alone is undone. A lone one needs no savepoint for that."""
        execute = self._connection.execute
        savepoint = self._session.savepoint()
        try:
            if not alone:
                execute("SAVEPOINT request")
            value = request.run(self._session)
            if not alone:
                execute("RELEASE request")
        except BaseException as error:
            if isinstance(error, sqlite3.Error) and (is_fatal(error) or not self._connection.in_transaction):
                raise
            if alone:
                self._roll_back()
            else:
                execute("ROLLBACK TO request")
                execute("RELEASE request")
            self._session.rollback(savepoint)
            return Result(request.future, None, error)
        return Result(request.future, value, None)

    def _roll_back(self) -> None:
        # After a full disk or an I/O error SQLite has rolled back already, and a second time is an error.
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _explain(self, error: sqlite3.Error, group: Sequence[WriteRequest], *, again: bool) -> None:
        """Tell a group of which nothing was stored; when the disk was full, make room, then try each alone first."""
        code = getattr(error, "sqlite_errorcode", 0)
        is_full = self._is_full(error)
        if is_full and not again and self._checkpoint("PASSIVE"):
            # All of the log is in the file, so it begins anew, in the blocks it has.
            self._carry_out(group, again=True)
            return
        if len(group) > 1 and (is_full or not (is_fatal(error) or code & 0xFF in BUSY)):
            for request in group:
                self._carry_out([request], again=again)
            return
        if is_full:
            reason: Exception = Refused(ErrorCode.NO_SPACE, f"The disk of the store {self._path} is full; {NOTHING}.")
        elif code & 0xFF in BUSY:
            reason = Refused(ErrorCode.BUSY, f"Another program has locked the store {self._path}; {NOTHING}.")
        elif is_fatal(error):
            reason = self._break(
                f"The store {self._path} cannot be written any more ({error.sqlite_errorname}: {error}); the daemon"
                f" stops. {UNKNOWN}"
            )
        else:
            reason = error
        self._refuse(group, reason)

    def _break(self, words: str) -> StoreFailed:
        if self._broken is None:
            self._broken = StoreFailed(words)
            self._call(self._on_broken, self._broken)
        return self._broken

    def _refuse(self, group: Sequence[WriteRequest], error: Exception) -> None:
        """Answer all of a group with this error."""
        self._call(_answer_all, [Result(request.future, None, error) for request in group])

    def _answer(
        self,
        committed: Committed,
        settings: dict[str, object] | None,
        values: dict[str, object] | None,
        results: Sequence[Result],
    ) -> None:
        """On the loop: events first, then the answers."""
        try:
            self._deliver(committed, settings, values)
        except Exception as error:  # no request's fault: its answer is as true as before
            log.critical("a commit was not told to all of the daemon", exc_info=error)
            self._break(
                f"{_fault(error)} while a commit was told to the daemon, which stops: it may have missed a job."
            )
        finally:
            for each in results:
                complete(*each)

    def _call(self, function: Callable[..., None], *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            # The loop was closed while we worked: nobody waits any more. What was stored stays stored.
            log.warning("the store had an answer and nobody waited for it")

    def _checkpoint(self, mode: str) -> bool:
        """Move the log into the file, after the answers are out. Whether all of it is there."""
        all_moved = False
        try:
            _, pages, moved = self._connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
            all_moved = pages == moved > 0
            if pages > LONG_LOG_PAGES and mode == "PASSIVE":
                with self._patience_for_readers():
                    self._connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
            failpoints.reached("store.checkpointed")
        except sqlite3.Error as error:
            # Full or locked: the log is as durable as the file, and a later checkpoint gets it.
            if is_fatal(error) and not self._is_full(error):
                self._break(f"The store {self._path} cannot be synced ({error.sqlite_errorname}: {error}); {STAYS}.")
        self._commits = 0
        self._changes = self._connection.total_changes
        return all_moved

    def _empty_log(self, group: Sequence[WriteRequest]) -> None:
        if self._broken is None:
            with self._patience_for_readers():
                self._checkpoint("TRUNCATE")
        is_empty = self._log_bytes() == 0
        self._call(_answer_all, [Result(request.future, is_empty, self._broken) for request in group])

    @contextlib.contextmanager
    def _patience_for_readers(self) -> Iterator[None]:
        """Wait a moment only for who reads the log, in another program perhaps: all who write would wait as long."""
        self._connection.execute(f"PRAGMA busy_timeout = {READER_MS}").fetchall()
        try:
            yield
        finally:
            self._connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}").fetchall()

    def _log_bytes(self) -> int:
        log = self._path.with_name(self._path.name + "-wal")
        return log.stat().st_size if log.exists() else 0

    def _is_full(self, error: sqlite3.Error) -> bool:
        code = getattr(error, "sqlite_errorcode", 0)
        return code in FULL or (code == sqlite3.SQLITE_IOERR_WRITE and is_disk_full(self._path.parent))


def _log_is_to_be_empty(_: Session) -> None:
    """Stands for what is no request of the session: a log cannot be emptied in a transaction."""


def _answer_all(results: Sequence[Result]) -> None:
    """On the loop: tell everybody who still waits what became of the request."""
    for each in results:
        complete(*each)


def _fault(error: BaseException) -> str:
    """What went wrong, in words that hold nothing of a job: they may be shown to any client."""
    return f"An unforeseen {type(error).__name__}"


def is_fatal(error: sqlite3.Error) -> bool:
    """Whether the error concerns the whole transaction, whatever the request was."""
    code = getattr(error, "sqlite_errorcode", 0)
    return code in FULL or code & 0xFF in GONE_WRONG
