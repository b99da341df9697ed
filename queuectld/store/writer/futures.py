"""Completing futures of the event loop for the threads of the store."""

import asyncio
from typing import Any


def complete(future: "asyncio.Future[Any]", value: Any, error: BaseException | None) -> None:
    """Set the result or the error of a future, unless it is done. Called on the loop."""
    if future.done():
        return
    if error is None:
        future.set_result(value)
    elif isinstance(error, StopIteration):
        # A future rejects StopIteration and would never be done.
        future.set_exception(RuntimeError("unexpected StopIteration"))
    else:
        future.set_exception(error)
