"""Waiting in tests: with a deadline, and with the last value in the failure. Never a bare sleep."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

GAP_S = 0.01  # between two looks; a test may look often, the product may not


def eventually(look: Callable[[], T], deadline: float = 10, message: str = "") -> T:
    """The first true value of `look()`. Fails after `deadline` seconds and shows the last value.

    An AssertionError of `look` counts as "not yet"; any other exception ends the wait at once.
    """
    until = time.monotonic() + deadline
    while True:
        value, failure = _look(look)
        if failure is None and value:
            return value
        if time.monotonic() >= until:
            raise _overdue(value, failure, deadline, message)
        time.sleep(GAP_S)


async def eventually_async(look: Callable[[], T], deadline: float = 10, message: str = "") -> T:
    """The same on an event loop, which goes on meanwhile."""
    until = time.monotonic() + deadline
    while True:
        value, failure = _look(look)
        if failure is None and value:
            return value
        if time.monotonic() >= until:
            raise _overdue(value, failure, deadline, message)
        await asyncio.sleep(GAP_S)


def _look(look: Callable[[], T]) -> tuple[T | None, AssertionError | None]:
    try:
        return look(), None
    except AssertionError as failure:
        return None, failure


def _overdue(value: object, failure: AssertionError | None, deadline: float, message: str) -> AssertionError:
    last = f"it failed with: {failure}" if failure is not None else f"last value: {value!r}"
    return AssertionError(f"{message or 'not so'} after {deadline} s; {last}")
