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


async def test_a_call_at_a_moment_never_comes_before_the_clock_shows_it():
    loop = asyncio.get_running_loop()
    clock = LoopClock(loop, EPOCH, speed=60.0)
    seen: asyncio.Queue[tuple[datetime, datetime]] = asyncio.Queue()

    def note(when: datetime) -> None:
        seen.put_nowait((when, clock.now()))

    for n in range(50):
        when = EPOCH + timedelta(seconds=n / 10)
        clock.call_at(when, lambda when=when: note(when))
    async with asyncio.timeout(5):
        pairs = [await seen.get() for _ in range(50)]
    assert all(shown >= when for when, shown in pairs)


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
