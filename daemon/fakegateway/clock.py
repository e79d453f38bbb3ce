"""The world's clock on an event loop, real or virtual."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from daemon.fakegateway.api import Handle, WorldClock

__all__ = ["Handle", "LoopClock", "WorldClock"]

OVERSHOOT_US = 1
"""Timers land this late, because a loop may fire them a clock tick early."""


class LoopClock:
    """World time that runs with *loop*'s, *speed* times as fast, from *epoch* on."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, epoch: datetime, speed: float = 1.0
    ) -> None:
        self._loop = loop
        self._epoch = epoch.astimezone(UTC)
        self._speed = speed
        self._started = loop.time()

    def now(self) -> datetime:
        """Return the world's time, aware UTC."""
        elapsed_s = (self._loop.time() - self._started) * self._speed
        return self._epoch + timedelta(seconds=elapsed_s)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Handle:
        """Call *callback* when *delay_s* seconds of world time have passed."""
        return self._loop.call_later(max(delay_s, 0.0) / self._speed, callback)

    def call_at(self, when: datetime, callback: Callable[[], None]) -> Handle:
        """Call *callback* when now() shows *when* or a moment more."""
        elapsed = when - self._epoch + timedelta(microseconds=OVERSHOOT_US)
        return self._loop.call_at(
            self._started + elapsed.total_seconds() / self._speed, callback
        )
