"""The alarm on real timerfds."""

import asyncio
import ctypes
import errno
import os
import time
from typing import Any

import pytest

from queuectld.eventloop import EventLoop
from queuectld.scheduler import timers
from queuectld.scheduler.clock import Clock
from queuectld.scheduler.timers import Alarm


def test_it_fires_when_store_time_is_reached_and_not_before() -> None:
    async def scenario() -> int:
        loop = asyncio.get_running_loop()
        clock = Clock(None)
        fired = loop.create_future()
        alarm = Alarm(loop, clock.offset_ms, lambda: fired.set_result(clock.now().store_ms))
        due = clock.now().store_ms + 60
        alarm.set(due, None)
        when = await asyncio.wait_for(fired, 10)
        alarm.close()
        return int(when) - due

    assert asyncio.run(scenario()) >= 0


def test_it_fires_at_once_for_what_is_past_on_either_clock() -> None:
    async def scenario() -> int:
        loop = asyncio.get_running_loop()
        fired = asyncio.Event()
        alarm = Alarm(loop, Clock(None).offset_ms, fired.set)
        count = 0
        for due in ((1, None), (None, int(time.time() * 1000) - 5_000)):
            fired.clear()
            alarm.set(*due)
            await asyncio.wait_for(fired.wait(), 10)
            count += 1
        alarm.close()
        return count

    assert asyncio.run(scenario()) == 2


def test_it_does_not_fire_for_a_moment_that_was_taken_back() -> None:
    async def scenario() -> bool:
        loop = asyncio.get_running_loop()
        clock = Clock(None)
        fired = asyncio.Event()
        alarm = Alarm(loop, clock.offset_ms, fired.set)
        alarm.set(clock.now().store_ms + 30, None)
        alarm.set(None, None)
        other = asyncio.Event()
        later = Alarm(loop, clock.offset_ms, other.set)
        later.set(clock.now().store_ms + 60, None)
        await asyncio.wait_for(other.wait(), 10)
        alarm.close()
        later.close()
        return fired.is_set()

    assert asyncio.run(scenario()) is False


class ClockJustSet:
    """The C library, whose timers were set to fire when the clock is set, which has just happened."""

    def __init__(self, real: Any, error: int) -> None:
        self.timerfd_create = real.timerfd_create
        self._error = error

    def timerfd_settime(self, *_: Any) -> int:
        ctypes.set_errno(self._error)
        return -1


def test_a_clock_that_is_set_between_two_settings_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """timerfd_settime(2) tells it then, and not the read that would have told it otherwise."""

    async def scenario() -> None:
        fired = asyncio.Event()
        alarm = Alarm(asyncio.get_running_loop(), 0, fired.set)
        monkeypatch.setattr(timers, "_libc", ClockJustSet(timers._libc, errno.ECANCELED))
        alarm.set(None, int(time.time() * 1000) + 3_600_000)
        await asyncio.wait_for(fired.wait(), 10)
        alarm.close()

    asyncio.run(scenario())


def test_a_timer_that_cannot_be_set_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        alarm = Alarm(asyncio.get_running_loop(), 0, lambda: None)
        monkeypatch.setattr(timers, "_libc", ClockJustSet(timers._libc, errno.EINVAL))
        with pytest.raises(OSError, match="Invalid"):
            alarm.set(None, 1)
        alarm.close()

    asyncio.run(scenario())


def test_a_wake_up_that_is_interrupted_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    read, tries = os.eventfd_read, []

    def interrupted_once(descriptor: int) -> int:
        tries.append(descriptor)
        if len(tries) == 1:
            raise InterruptedError
        return read(descriptor)

    async def scenario() -> None:
        faults: list[Any] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: faults.append(context))
        monkeypatch.setattr(os, "eventfd_read", interrupted_once)
        await loop.run_in_executor(None, time.monotonic)
        while len(tries) < 2:
            await asyncio.sleep(0)
        assert faults == []

    with asyncio.Runner(loop_factory=EventLoop) as runner:
        runner.run(scenario())
