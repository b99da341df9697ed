"""The alarm on real timerfds."""

import asyncio
import time

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
            alarm.fired()
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
