"""The writer thread. Requests that queue up during one fsync share the next one: group commit without a timer.

A request is a function of the session. Each has a savepoint, so that a failing one does not undo the others.
It is run again after a full disk, so it must change nothing but the session.
"""

import asyncio
import contextlib
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from queuectld import failpoints
from queuectld.store.mapping.connection import BUSY_MS, LOG_LIMIT_BYTES
from queuectld.store.mapping.files import FileIdentity
from queuectld.store.records import Committed, StoreFailed
from queuectld.store.writer.cache import read_settings
from queuectld.store.writer.disk_space import DiskSpace
from queuectld.store.writer.futures import complete
from queuectld.store.writer.requests import Priority, RequestQueue, WriteRequest
from queuectld.store.writer.session import Session
from queuectld.store.writer.sqlite_errors import Meaning, meaning_of, refusal

T = TypeVar("T")
CHECKPOINT_CHANGES: Final = 20_000
"""Rows changed since the last checkpoint before the next one (a log of about 8 MiB, if they were added)."""
CHECKPOINT_COMMITS: Final = 500
"""Commits since the last checkpoint before the next one; about ten pages each."""
PATIENT_COMMITS: Final = 50
"""How many commits one idle request counts as: giving pages back writes hundreds of them."""
CHECKPOINT_BYTES: Final = 4 * 1024 * 1024
"""Growth of the log above LOG_LIMIT_BYTES before the next checkpoint: a changed row may write several pages."""
LONG_LOG_PAGES: Final = 4_096
"""Above this size (16 MiB) a checkpoint waits for readers, so that the log restarts. Otherwise it restarts only if
nobody reads it at the first write after a complete checkpoint."""
READER_MS: Final = 30
"""How long a checkpoint waits for readers."""
STAYS: Final = "the daemon stops. All that was acknowledged is on disk, in the log beside the store"
UNKNOWN: Final = "All that was acknowledged is on disk; of what was not, it is not known."
log = logging.getLogger(__name__)


class Result(NamedTuple):
    """Result of a request."""

    future: "asyncio.Future[Any]"
    value: Any
    error: BaseException | None


class Writer:
    """Runs requests of the event loop and completes their futures once they are on disk."""

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
        self._queue = RequestQueue()
        session.others_wait = self._others_wait
        self._broken: StoreFailed | None = None
        self._commits = 0
        self._changes = connection.total_changes
        self._group_size = 0
        self._log_path = path.with_name(path.name + "-wal")
        self._log_base = LOG_LIMIT_BYTES
        """Size of the log from which its growth is counted."""
        self._thread = threading.Thread(target=self._work, name="store-writer", daemon=True)

    @property
    def is_broken(self) -> bool:
        """Whether an error ended all writing. The connection may then be closed only while a reader's is open."""
        return self._broken is not None

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, run: Callable[[Session], T], weight: int = 1) -> "asyncio.Future[T]":
        """Run `run` in a commit. The future is done when it is on disk, or has failed.

        Cancelling the future before the request has started withdraws it; later it has no effect.
        """
        return self._submit(run, weight, Priority.NORMAL)

    def submit_bulk(self, run: Callable[[Session], T], weight: int) -> "asyncio.Future[T]":
        """Like `submit`, for a slice of much work: other requests go before it."""
        return self._submit(run, weight, Priority.BULK)

    def when_idle(self, run: Callable[[Session], T]) -> "asyncio.Future[T]":
        """Like `submit`, in a commit of its own, once no other request waits."""
        return self._submit(run, 1, Priority.IDLE)

    def empty_log(self) -> "asyncio.Future[bool]":
        """Checkpoint and truncate the log once no other request waits. False: a reader still uses it."""
        future: asyncio.Future[bool] = self._loop.create_future()
        self._queue.put(WriteRequest(_log_is_to_be_empty, future, 1, Priority.IDLE))
        return future

    def stop(self) -> None:
        """Run what is queued, then end the thread and close the connection. Called on another thread."""
        self._queue.close()
        self._thread.join()

    def _work(self) -> None:
        going = True
        while going:
            group, going = self._queue.take()
            try:
                if group:
                    (self._empty_log if group[0].run is _log_is_to_be_empty else self._carry_out)(group)
                if not going and self._broken is None:
                    self._checkpoint("TRUNCATE")
            except BaseException as error:
                self._fail(group, error)
        # SQLite's last connection checkpoints when it is closed. After an I/O error the log must stay as it is for
        # the next daemon, so the reader's connection must still be open then.
        self._connection.close()

    def _fail(self, group: Sequence[WriteRequest], error: BaseException) -> None:
        """Refuse a group after an unexpected error. The thread must go on, or later requests would wait for ever."""
        log.critical("unexpected error in the writer thread", exc_info=error)
        with contextlib.suppress(sqlite3.Error):
            self._roll_back()
        broken = self._break(f"{_fault(error)} in the writer thread; the daemon stops. {UNKNOWN}")
        # Answers given before the error are on their way to the loop already and stay valid.
        self._refuse(group, broken)

    def _submit(self, run: Callable[[Session], T], weight: int, priority: Priority) -> "asyncio.Future[T]":
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put(WriteRequest(run, future, weight, priority))
        return future

    def _carry_out(self, group: Sequence[WriteRequest], *, again: bool = False) -> None:
        """Run requests in one commit and complete them. `again`: a retry after a full disk."""
        if self._broken is not None:
            self._refuse(group, self._broken)
            return
        self._group_size = len(group)
        start = self._session.savepoint()
        execute = self._connection.execute
        results: list[Result] = []
        try:
            execute("BEGIN IMMEDIATE")
            self._disk_space.begin()
            failpoints.reached("store.begun")
            for request in group:
                if results and request.priority is Priority.BULK and self._queue.others_wait():
                    self._queue.give_back(group[len(results) :])
                    group = group[: len(results)]
                    break
                results.append(self._run(request, alone=len(group) == 1))
            if self._connection.in_transaction:
                self._session.flush()
                self._disk_space.check()
                failpoints.reached("store.written")
                execute("COMMIT")
                failpoints.reached("store.committed")
        except (sqlite3.Error, MemoryError) as error:
            # The whole transaction is lost, including released savepoints.
            self._roll_back()
            self._session.rollback(start)
            self._explain(error, group, again=again)
            return
        # Data written to an unlinked file is lost with this process: do not acknowledge it.
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
        self._commits += PATIENT_COMMITS if group[0].priority is Priority.IDLE else 1
        if self._checkpoint_is_due():
            self._checkpoint("PASSIVE")

    def _others_wait(self) -> bool:
        """Whether requests wait for the request that runs: those that share its commit, or that come after it."""
        return self._group_size > 1 or self._queue.others_wait()

    def _run(self, request: WriteRequest, *, alone: bool) -> Result:
        """Run one request; if it fails, undo only this one. A single request needs no savepoint."""
        execute = self._connection.execute
        savepoint = self._session.savepoint()
        try:
            if not alone:
                execute("SAVEPOINT request")
            value = request.run(self._session)
            if not alone:
                execute("RELEASE request")
        except BaseException as error:
            if isinstance(error, sqlite3.Error | MemoryError) and (
                meaning_of(error, self._path) is not Meaning.REQUEST or not self._connection.in_transaction
            ):
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
        # After a full disk or an I/O error SQLite has rolled back already; a second ROLLBACK would fail.
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _explain(self, error: sqlite3.Error | MemoryError, group: Sequence[WriteRequest], *, again: bool) -> None:
        """Handle an error of a whole group. After a full disk, checkpoint and retry, then retry each request alone."""
        meaning = meaning_of(error, self._path)
        if meaning is Meaning.FULL and not again and self._checkpoint("PASSIVE"):
            # The whole log is in the file, so it restarts in the blocks it has.
            self._carry_out(group, again=True)
            return
        if len(group) > 1 and meaning in (Meaning.FULL, Meaning.REQUEST):
            for request in group:
                self._carry_out([request], again=again)
            return
        reason: Exception = refusal(error, meaning, self._path) or error
        if meaning is Meaning.FATAL:
            reason = self._break(
                f"The store {self._path} cannot be written any more ({_name(error)}); the daemon stops. {UNKNOWN}"
            )
        self._refuse(group, reason)

    def _break(self, words: str) -> StoreFailed:
        if self._broken is None:
            self._broken = StoreFailed(words)
            self._call(self._on_broken, self._broken)
        return self._broken

    def _refuse(self, group: Sequence[WriteRequest], error: Exception) -> None:
        """Complete all requests of a group with this error."""
        self._call(_answer_all, [Result(request.future, None, error) for request in group])

    def _answer(
        self,
        committed: Committed,
        settings: dict[str, object] | None,
        values: dict[str, object] | None,
        results: Sequence[Result],
    ) -> None:
        """Deliver events, then complete the requests. Called on the loop."""
        try:
            self._deliver(committed, settings, values)
        except Exception as error:  # the answers of the requests are still valid
            log.critical("a subscriber failed to handle a commit", exc_info=error)
            self._break(
                f"{_fault(error)} while a commit was handled; the daemon stops, because it may have missed a job."
            )
        finally:
            for each in results:
                complete(*each)

    def _call(self, function: Callable[..., None], *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            # The loop was closed meanwhile: nobody waits. What was stored stays stored.
            log.warning("the event loop was closed before the store answered")

    def _checkpoint_is_due(self) -> bool:
        # The file shrinks when the log begins anew; until then readers hold that up, and only what is added counts.
        size = self._log_bytes()
        self._log_base = min(self._log_base, max(size, LOG_LIMIT_BYTES))
        return (
            size >= self._log_base + CHECKPOINT_BYTES
            or self._commits >= CHECKPOINT_COMMITS
            or self._connection.total_changes - self._changes >= CHECKPOINT_CHANGES
            or self._disk_space.checkpoint_due
        )

    def _checkpoint(self, mode: str) -> bool:
        """Checkpoint. Return whether the whole log was moved into the file."""
        all_moved = False
        try:
            _, pages, moved = self._connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
            all_moved = pages == moved > 0
            if pages > LONG_LOG_PAGES and mode == "PASSIVE":
                with self._patience_for_readers():
                    self._connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
            failpoints.reached("store.checkpointed")
        except (sqlite3.Error, MemoryError) as error:
            # If it passes: the log is as durable as the file, and a later checkpoint moves it.
            if meaning_of(error, self._path) is Meaning.FATAL:
                self._break(f"The store {self._path} cannot be synced ({_name(error)}); {STAYS}.")
        self._commits = 0
        self._changes = self._connection.total_changes
        self._log_base = max(self._log_bytes(), LOG_LIMIT_BYTES)
        return all_moved

    def _empty_log(self, group: Sequence[WriteRequest]) -> None:
        if self._broken is None:
            with self._patience_for_readers():
                self._checkpoint("TRUNCATE")
        is_empty = self._log_bytes() == 0
        self._call(_answer_all, [Result(request.future, is_empty, self._broken) for request in group])

    @contextlib.contextmanager
    def _patience_for_readers(self) -> Iterator[None]:
        """Shorten the wait for readers, perhaps of another program: all writes wait as long."""
        self._connection.execute(f"PRAGMA busy_timeout = {READER_MS}").fetchall()
        try:
            yield
        finally:
            self._connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}").fetchall()

    def _log_bytes(self) -> int:
        try:
            return os.stat(self._log_path).st_size
        except FileNotFoundError:
            return 0


def _log_is_to_be_empty(_: Session) -> None:
    """Marker for `empty_log`, which cannot run in a transaction."""


def _answer_all(results: Sequence[Result]) -> None:
    """Complete all requests. Called on the loop."""
    for each in results:
        complete(*each)


def _fault(error: BaseException) -> str:
    """Describe an unexpected error without data of jobs: any client may see it."""
    return f"Unexpected {type(error).__name__}"


def _name(error: BaseException) -> str:
    return f"{getattr(error, 'sqlite_errorname', type(error).__name__)}: {error}"
