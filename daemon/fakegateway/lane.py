"""Calls that happen a while later, in the order in which they were asked for."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from functools import partial

from daemon.fakegateway.api import WorldClock


class Lane:
    """A delay line: equal delays never overtake each other.

    A loop's timers of one instant have no order of their own.
    """

    def __init__(self, clock: WorldClock) -> None:
        self._clock = clock
        self._waiting: defaultdict[float, deque[Callable[[], None]]] = defaultdict(
            deque
        )

    def after(self, delay_s: float, call: Callable[[], None]) -> None:
        """Make *call* in *delay_s* seconds, behind those that wait as long."""
        self._waiting[delay_s].append(call)
        self._clock.call_later(delay_s, partial(self._next, delay_s))

    def _next(self, delay_s: float) -> None:
        self._waiting[delay_s].popleft()()
