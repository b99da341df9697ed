"""The dispatcher runs the turns: one commit that stores outcomes, releases due jobs and claims jobs for free workers.

Commits, workers and the alarm wake it. One turn runs at a time; whatever arrives meanwhile is handled in the next.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from queuectl_client.protocol.vocabulary import ErrorCode
from queuectld.domain.errors import Refused
from queuectld.domain.job import Claimed
from queuectld.scheduler.clock import Clock
from queuectld.scheduler.inbox import Inbox
from queuectld.scheduler.timers import Alarm
from queuectld.store.records import Committed, StoredOutcome
from queuectld.store.store import Store

log = logging.getLogger(__name__)

TRANSIENT_ERRORS: Final = frozenset({ErrorCode.NO_SPACE, ErrorCode.BUSY})
"""Store failures that are worth retrying."""

RETRY_SECONDS: Final = 1


class WorkerPool(Protocol):
    """The part of the worker pool that the dispatcher uses."""

    def free(self) -> Sequence[int]:
        """Return the ids of the workers that can start any job now, longest idle first."""
        ...

    def dedicated(self) -> Mapping[int, int]:
        """Return the free workers dedicated to one job: worker id to seq."""
        ...

    async def start(self, claimed: Claimed) -> bool:
        """Send the job to its worker. False when the worker is gone and has not received it."""
        ...

    def stored(self, outcomes: Sequence[StoredOutcome]) -> None:
        """Acknowledge stored outcomes to their workers."""
        ...


class Dispatcher:
    """Runs the loop of turns. Outcomes and returned claims arrive in the inbox."""

    def __init__(
        self, store: Store, clock: Clock, setting: Callable[[str], Any], pool: WorkerPool, inbox: Inbox
    ) -> None:
        self._store = store
        self._clock = clock
        self._setting = setting
        self._pool = pool
        self._inbox = inbox
        self._ready = True
        """Whether a claim may find a job. True at first: the store was not asked yet."""
        self._unfinished = True
        """Whether a turn has work to do even without a free worker. True at first, as above."""
        self._alarm: Alarm | None = None
        """Set while `run` runs."""
        self._is_retrying = False
        """Whether the newest turn failed with a transient error."""
        self.draining = False
        """Claim no jobs; outcomes are still stored."""
        self._ending = False

    def committed(self, commit: Committed) -> None:
        """Handle a commit: set the alarm, and run a turn if a job became ready."""
        if self._alarm is not None:
            self._alarm.set(commit.due.store_ms, commit.due.wall_ms)
        self._unfinished = commit.unfinished
        if commit.ready or commit.unfinished:
            self._ready = True
            self._inbox.wake()

    def end(self) -> None:
        """Make `run` return after the current turn."""
        self._ending = True
        self._inbox.wake()

    async def run(self) -> None:
        """Run turns until `end` is called."""
        loop = asyncio.get_running_loop()
        self._alarm = Alarm(loop, self._clock.offset_ms, self._alarm_fired)
        self._alarm.set(self._store.due.store_ms, self._store.due.wall_ms)
        self._inbox.wake()
        try:
            while not self._ending:
                await self._inbox.woken()
                await self._turn()
        finally:
            self._alarm.close()

    async def _turn(self) -> None:
        await self._return_claims()
        if self._inbox.claims:
            return  # otherwise a worker could get a second claim while the store still has its first
        is_due = self._is_due()
        # Outcomes and due times may free what a limit held back.
        may_find = self._ready or bool(self._inbox.outcomes) or is_due
        free = self._pool.free() if may_find and not self.draining else []
        dedicated = {} if self.draining else self._pool.dedicated()
        now = self._clock.now()
        if not (self._inbox.outcomes or free or dedicated or self._unfinished or is_due):
            return
        outcomes = self._inbox.take_outcomes()
        if free:
            self._ready = False
        try:
            turn = await self._store.turn(
                outcomes,
                free,
                dedicated,
                now=now,
                crash_limit=self._setting("crash_limit"),
                chance=random.random(),
            )
        except BaseException as error:
            # Put them back for the next turn.
            self._inbox.outcomes[:0] = outcomes
            self._ready = True
            self._retry_later(error)
            return
        if self._is_retrying:
            self._is_retrying = False
            log.info("turns can be stored again")
        if len(turn.claimed) >= len(free) > 0 or turn.more:
            # Every worker got a job, so more jobs may be ready.
            self._ready = True
        if turn.more:
            self._inbox.wake()
        self._pool.stored(turn.stored)
        for claimed in turn.claimed:
            if not await self._pool.start(claimed):
                self._inbox.return_claim(claimed.seq, claimed.run)

    async def _return_claims(self) -> None:
        """Store returned claims as pending. If that fails, the next turn tries again."""
        claims = self._inbox.take_claims()
        if not claims:
            return
        try:
            await self._store.return_claims(claims, now=self._clock.now())
        except BaseException as error:
            self._inbox.claims[:0] = claims
            self._retry_later(error)

    def _retry_later(self, error: BaseException) -> None:
        """Schedule a turn after RETRY_SECONDS. Raises `error` unless it is transient."""
        if not (isinstance(error, Refused) and error.code in TRANSIENT_ERRORS):
            raise error
        if not self._is_retrying:
            # Log once: a full disk may last for days.
            log.warning("cannot store a turn, retrying every %d s: %s", RETRY_SECONDS, error.message)
        self._is_retrying = True
        asyncio.get_running_loop().call_later(RETRY_SECONDS, self._inbox.wake)

    def _is_due(self) -> bool:
        return self._store.due.is_past(self._clock.now())

    def _alarm_fired(self) -> None:
        if self._is_due():
            # The commit of the turn sets the alarm anew.
            self._inbox.wake()
        elif self._alarm is not None:
            self._alarm.set(self._store.due.store_ms, self._store.due.wall_ms)
