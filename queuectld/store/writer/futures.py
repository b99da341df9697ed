"""How the threads of the store answer on the event loop: once, and whatever the answer is."""

import asyncio
from typing import Any


def complete(future: "asyncio.Future[Any]", value: Any, error: BaseException | None) -> None:
    """Called on the loop: tell who waits, if anybody still does. Afterwards the future is done, come what may."""
    if future.done():
        return
    if error is None:
        future.set_result(value)
    elif isinstance(error, StopIteration):
        # A future refuses it, and would then never be done.
        future.set_exception(RuntimeError("unforeseen: StopIteration"))
    else:
        future.set_exception(error)
