"""The dispatcher takes the turns: what ended is stored, what is due is let in, free workers get jobs, in one commit.

It is woken by commits, by workers and by the alarm, and does nothing otherwise. One turn runs at a time; what comes
meanwhile shares the next.
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
"""Failures of the store that go away by themselves."""

RETRY_SECONDS: Final = 1


class WorkerPool(Protocol):
    """What the dispatcher needs of the workers."""

    def free(self) -> Sequence[int]:
        """Ids of the workers that could start any job now, the one idle for longest first."""
        ...

    def dedicated(self) -> Mapping[int, int]:
        """Free workers that are kept for one job: worker id to seq."""
        ...

    async def start(self, claimed: Claimed) -> bool:
        """Hand the job to its worker. False: the worker is gone and has not seen it."""
        ...

    def stored(self, outcomes: Sequence[StoredOutcome]) -> None:
        """Tell workers that these outcomes need not be kept any longer."""
        ...


class Dispatcher:
    """Owns the loop of turns. What a turn has to store comes in through the inbox."""

    def __init__(
        self, store: Store, clock: Clock, setting: Callable[[str], Any], pool: WorkerPool, inbox: Inbox
    ) -> None:
        self._store = store
        self._clock = clock
        self._setting = setting
        self._pool = pool
        self._inbox = inbox
        self._ready = True
        """Whether a claim may find something. True at first: the store has not been asked yet."""
        self._unfinished = True
        """Whether a turn has something to do although no worker is free. True at first, as above."""
        self._alarm: Alarm | None = None
        """There while turns are taken."""
        self._is_retrying = False
        """Whether the newest turn could not be stored, for a reason that goes away by itself."""
        self.draining = False
        """No new claims; what ends is still stored."""
        self._ending = False

    def committed(self, commit: Committed) -> None:
        """A commit of the store: set the alarm, and take a turn when a job became ready."""
        if self._alarm is not None:
            self._alarm.set(commit.due.store_ms, commit.due.wall_ms)
        self._unfinished = commit.unfinished
        if commit.ready or commit.unfinished:
            self._ready = True
            self._inbox.wake()

    def end(self) -> None:
        """Take no more turns: `run` returns once the turn under way is over, with what it has claimed."""
        self._ending = True
        self._inbox.wake()

    async def run(self) -> None:
        """Take turns until told to end."""
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
            return  # or a worker would be given a second claim while the store says that it has the first
        is_due = self._is_due()
        # What ends, and the time that comes, may open what was closed by a limit.
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
            # Not stored, so not forgotten: the next turn tries again.
            self._inbox.outcomes[:0] = outcomes
            self._ready = True
            self._retry_later(error)
            return
        if self._is_retrying:
            self._is_retrying = False
            log.info("turns are stored again")
        if len(turn.claimed) >= len(free) > 0 or turn.more:
            # Every worker got a job, so there may be more: the next free worker looks again.
            self._ready = True
        if turn.more:
            self._inbox.wake()
        self._pool.stored(turn.stored)
        for claimed in turn.claimed:
            if not await self._pool.start(claimed):
                self._inbox.return_claim(claimed.seq, claimed.run)

    async def _return_claims(self) -> None:
        """Store claims as pending again; when they cannot be stored now, the next turn tries again."""
        claims = self._inbox.take_claims()
        if not claims:
            return
        try:
            await self._store.return_claims(claims, now=self._clock.now())
        except BaseException as error:
            self._inbox.claims[:0] = claims
            self._retry_later(error)

    def _retry_later(self, error: BaseException) -> None:
        """Take a turn in a while. Raises `error` when it does not go away by itself."""
        if not (isinstance(error, Refused) and error.code in TRANSIENT_ERRORS):
            raise error
        if not self._is_retrying:
            # Once: on a full disk, with nobody there, this may go on for days.
            log.warning("a turn was not stored; it is tried again every %d s: %s", RETRY_SECONDS, error.message)
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
