from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone

from daemon.fakegateway.clock import LoopClock

EPOCH = datetime(2026, 2, 19, 9, 0, tzinfo=timezone(timedelta(hours=-5)))


async def test_time_begins_at_the_epoch_in_utc_and_runs_with_the_loop():
    loop = asyncio.get_running_loop()
    clock = LoopClock(loop, EPOCH, speed=36_000.0)
    first = clock.now()
    assert first.tzinfo is UTC
    assert timedelta(0) <= first - EPOCH < timedelta(hours=10)
    reached = asyncio.Event()
    clock.call_later(36.0, reached.set)
    async with asyncio.timeout(5):
        await reached.wait()
    assert clock.now() - EPOCH >= timedelta(seconds=36)


class EarlyLoop(asyncio.SelectorEventLoop):
    """A loop whose time is set by hand, to the moment just before a timer."""

    at = 1000.0

    def time(self) -> float:
        return self.at


def test_a_timer_that_fires_a_microsecond_early_still_finds_its_moment_come():
    loop = EarlyLoop()
    clock = LoopClock(loop, EPOCH)
    when = EPOCH + timedelta(hours=6, seconds=15)
    handle = clock.call_at(when, lambda: None)
    loop.at = handle.when() - 1e-6
    assert when <= clock.now() <= when + timedelta(microseconds=1)
    loop.close()


async def test_a_cancelled_call_does_not_come():
    loop = asyncio.get_running_loop()
    clock = LoopClock(loop, EPOCH, speed=1000.0)
    came: list[str] = []
    done = asyncio.Event()
    clock.call_later(1.0, lambda: came.append("cancelled")).cancel()
    clock.call_later(2.0, done.set)
    async with asyncio.timeout(5):
        await done.wait()
    assert came == []
