"""Calls that happen a while later, in the order in which they were asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from daemon.fakegateway.api import WorldClock


class Lane:
    """A delay line: equal delays never overtake each other.

    A loop's timers of one instant have no order of their own.
    """

    def __init__(self, clock: WorldClock) -> None:
        self._clock = clock
        self._waiting: deque[Callable[[], None]] = deque()

    def after(self, delay_s: float, call: Callable[[], None]) -> None:
        """Make *call* in *delay_s* seconds, behind those that wait already."""
        self._waiting.append(call)
        self._clock.call_later(delay_s, self._next)

    def _next(self) -> None:
        self._waiting.popleft()()
