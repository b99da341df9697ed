"""The thread that reads, on a connection that cannot write: it sees what is committed and holds up nobody."""

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

from queuectld.store.writer.futures import complete

T = TypeVar("T")
Query = tuple[Callable[[sqlite3.Connection], Any], "asyncio.Future[Any]"]
log = logging.getLogger(__name__)


class Reader:
    """Answers questions one after the other, each from one state of the store."""

    def __init__(self, connection: sqlite3.Connection, loop: asyncio.AbstractEventLoop) -> None:
        self._connection = connection
        self._loop = loop
        self._queue: SimpleQueue[Query | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="store-reader", daemon=True)

    def start(self) -> None:
        """Begin to take questions."""
        self._thread.start()

    def submit(self, query: Callable[[sqlite3.Connection], T]) -> "asyncio.Future[T]":
        """Have the question answered; it gets the connection and must keep nothing of it."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put((query, future))
        return future

    def stop(self) -> None:
        """Answer what waits, then end the thread and close the connection. Called on another thread."""
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            query, future = item
            if not future.cancelled():
                self._answer(query, future)
        self._connection.close()

    def _answer(self, query: Callable[[sqlite3.Connection], Any], future: "asyncio.Future[Any]") -> None:
        value, failure = None, None
        try:
            # One snapshot for all that the question reads; ended at once, or the log could not begin anew.
            self._connection.execute("BEGIN")
            try:
                value = query(self._connection)
            finally:
                self._connection.execute("ROLLBACK")
        except BaseException as error:
            failure = error
        try:
            self._loop.call_soon_threadsafe(complete, future, value, failure)
        except RuntimeError:
            log.warning("the store had an answer and nobody waited for it")
