"""Methods of the daemon itself: its description, draining, and the stop that goes on without the client that asked."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from queuectl_client.protocol.vocabulary import ErrorCode
from queuectld.domain.errors import Refused
from queuectld.scheduler.dispatcher import Dispatcher
from queuectld.scheduler.inbox import Inbox

log = logging.getLogger(__name__)


class AllWorkers(Protocol):
    """What a stop of the daemon needs of the workers."""

    async def end_all(self, *, now: bool) -> Sequence[str]:
        """End all workers after their jobs (`now`: kill the jobs). Returns descriptions of what did not end."""
        ...

    async def undo_end_all(self) -> None:
        """Start the workers that `end_all`, which has been cancelled, has told to end."""
        ...


class DaemonService:
    """Methods of the daemon itself."""

    def __init__(
        self,
        facts: Callable[[], Mapping[str, Any]],
        dispatcher: Dispatcher,
        inbox: Inbox,
        workers: AllWorkers,
        exit_soon: Callable[[], None],
    ) -> None:
        self._facts = facts
        self._dispatcher = dispatcher
        self._inbox = inbox
        self._workers = workers
        self._exit_soon = exit_soon
        self._stops: set[asyncio.Task[Sequence[str]]] = set()
        """Stops in progress: a second one may be asked for, with `now`."""
        self._is_exiting = False

    def info(self) -> Mapping[str, Any]:
        """Return pid, version, paths and state of the daemon."""
        return {**self._facts(), "stopping": bool(self._stops) or self._is_exiting}

    async def drain(self, resume: bool) -> Mapping[str, Any]:
        """Stop starting jobs; with `resume`, start them again, and cancel a stop in progress.

        Raises Refused (wrong_state) when all workers have ended after a stop: the daemon exits.
        """
        if resume:
            await self._cancel_stops()
        self._dispatcher.draining = not resume
        if resume:
            self._inbox.wake()
        return {"draining": not resume}

    async def shutdown(self, now: bool) -> Mapping[str, Any]:
        """End all workers after their jobs (`now`: kill the jobs); the daemon exits after the answer is sent.

        `left` describes what did not end. The stop goes on if the caller is cancelled. Raises Refused (wrong_state) if
        the stop is cancelled by `drain`.
        """
        self._dispatcher.draining = True
        stop = asyncio.get_running_loop().create_task(self._stop(now), name="stop")
        self._stops.add(stop)
        stop.add_done_callback(self._stops.discard)
        try:
            # Shielded: the client may be interrupted, and half a stop would leave a daemon that only drains.
            left = await asyncio.shield(stop)
        except asyncio.CancelledError:
            if stop.cancelled():
                message = "the daemon was started again before it had stopped, so it goes on"
                raise Refused(ErrorCode.WRONG_STATE, message) from None
            stop.add_done_callback(self._ended_unattended)
            raise
        self._exit_soon()  # by the caller, so that its answer is sent first
        return {"left": list(left)}

    async def _stop(self, now: bool) -> Sequence[str]:
        left = await self._workers.end_all(now=now)
        self._is_exiting = True
        return left

    def _ended_unattended(self, stop: "asyncio.Task[Sequence[str]]") -> None:
        if stop.cancelled():
            return
        if (error := stop.exception()) is not None:
            log.error("the daemon cannot stop: %s", error)
        else:
            self._exit_soon()

    async def _cancel_stops(self) -> None:
        stops = list(self._stops)
        for stop in stops:
            stop.cancel()
        await asyncio.gather(*stops, return_exceptions=True)
        if self._is_exiting:
            raise Refused(ErrorCode.WRONG_STATE, "the daemon has stopped its workers and is about to exit")
        if stops:
            await self._workers.undo_end_all()
