"""The reader thread, on a read-only connection: it sees committed data and does not block writes."""

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from queuectld.store.writer.futures import complete
from queuectld.store.writer.sqlite_errors import meaning_of, refusal

T = TypeVar("T")
Query = tuple[Callable[[sqlite3.Connection], Any], "asyncio.Future[Any]"]
log = logging.getLogger(__name__)


class Reader:
    """Runs queries one after the other, each on one snapshot of the store."""

    def __init__(self, path: Path, connection: sqlite3.Connection, loop: asyncio.AbstractEventLoop) -> None:
        self._path = path
        self._connection = connection
        self._loop = loop
        self._queue: SimpleQueue[Query | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="store-reader", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, query: Callable[[sqlite3.Connection], T]) -> "asyncio.Future[T]":
        """Run a query on the thread. It gets the connection and must not keep it."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put((query, future))
        return future

    def stop(self) -> None:
        """Run queued queries, then end the thread and close the connection. Called on another thread."""
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            query, future = item
            if not future.cancelled():
                self._answer(query, future)
        self._connection.close()

    def _answer(self, query: Callable[[sqlite3.Connection], Any], future: "asyncio.Future[Any]") -> None:
        value: Any = None
        failure: BaseException | None = None
        try:
            # One snapshot for the whole query; ended at once, or the log could not restart.
            self._connection.execute("BEGIN")
            try:
                value = query(self._connection)
            finally:
                if self._connection.in_transaction:  # some errors have rolled back already
                    self._connection.execute("ROLLBACK")
        except (sqlite3.Error, MemoryError) as error:
            failure = refusal(error, meaning_of(error, self._path), self._path, "nothing was read") or error
        except BaseException as error:
            failure = error
        try:
            self._loop.call_soon_threadsafe(complete, future, value, failure)
        except RuntimeError:
            log.warning("the event loop was closed before the store answered")
