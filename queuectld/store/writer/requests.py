"""The requests that wait for the writer thread, and which of them share the next commit.

Bulk requests are slices of much work: a commit of them ends with the current slice as soon as another request waits,
and the two kinds take turns, so that neither waits longer than for one slice of the other. Requests of one kind keep
their order. Idle requests wait until there is nothing else to do.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from enum import IntEnum
from queue import Empty, SimpleQueue
from typing import Any, Final, NamedTuple

from queuectld.store.writer.session import Session

MAX_GROUP_WEIGHT: Final = 1_000
"""Approximate number of rows in one commit: some 15 ms of work."""


class Priority(IntEnum):
    """When a request is run."""

    NORMAL = 0
    BULK = 1
    IDLE = 2


class WriteRequest(NamedTuple):
    """A queued request."""

    run: Callable[[Session], Any]
    future: "asyncio.Future[Any]"
    weight: int
    priority: Priority


class RequestQueue:
    """Filled by the event loop, emptied by the writer thread."""

    def __init__(self) -> None:
        self._submitted: SimpleQueue[WriteRequest | None] = SimpleQueue()
        self._waiting: tuple[deque[WriteRequest], ...] = tuple(deque() for _ in Priority)
        self._bulk_is_next = False
        """Whether the next commit belongs to bulk requests, because the last one did not."""
        self._closed = False

    def put(self, request: WriteRequest) -> None:
        """Add a request. Called on any thread."""
        self._submitted.put(request)

    def close(self) -> None:
        """No more requests follow. Called on any thread."""
        self._submitted.put(None)

    def take(self) -> tuple[list[WriteRequest], bool]:
        """Wait for a request; return those of the next commit, and whether more may follow."""
        normal, bulk, idle = self._waiting
        self._receive(block=not (normal or bulk or idle))
        if self._closed:
            rest = [request for waiting in self._waiting for request in waiting]
            for waiting in self._waiting:
                waiting.clear()
            return rest, False
        if normal and not (self._bulk_is_next and bulk):
            self._bulk_is_next = True
            return _first(normal), True
        self._bulk_is_next = False
        if bulk:
            return _first(bulk), True
        return [idle.popleft()] if idle else [], True

    def give_back(self, requests: Sequence[WriteRequest]) -> None:
        """Undo `take` for these bulk requests."""
        self._waiting[Priority.BULK].extendleft(reversed(requests))

    def others_wait(self) -> bool:
        """Whether requests other than bulk ones wait for the current commit to end."""
        self._receive(block=False)
        return bool(self._waiting[Priority.NORMAL])

    def _receive(self, *, block: bool) -> None:
        while True:
            try:
                request = self._submitted.get(block=block)
            except Empty:
                return
            block = False
            if request is None:
                self._closed = True
            else:
                self._waiting[request.priority].append(request)


def _first(waiting: deque[WriteRequest]) -> list[WriteRequest]:
    """Take requests up to MAX_GROUP_WEIGHT; those that were cancelled are dropped."""
    group: list[WriteRequest] = []
    weight = 0
    while waiting and weight < MAX_GROUP_WEIGHT:
        request = waiting.popleft()
        # Checked before the request starts: cancelled later, it is still stored.
        if not request.future.cancelled():
            group.append(request)
            weight += request.weight
    return group
