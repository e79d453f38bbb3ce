"""Even pacing below the gateway's limit of 50 messages a second."""

from __future__ import annotations

import asyncio

SLOWEST = 5.0
"""Messages a second below which the pace is never lowered."""
_WINDOW_S = 1.0
"""The gateway counts the messages of the last second; refusals this close together
are of one burst."""


class Pacer:
    """Hands out evenly spaced slots; waiting callers are served in order.

    The gateway counts 50 messages a second and ends a session that breaks the rule
    three times (error 100), so bursts are spread instead of sent at once. Its limit
    is half the account's market data lines and may be lower than we think.
    """

    def __init__(self, messages_per_second: float) -> None:
        self._wanted = self._rate = messages_per_second
        self._next = 0.0
        self._turn = asyncio.Lock()
        self._lowered_at: float | None = None

    @property
    def rate(self) -> float:
        """Return the messages a second that are let out now."""
        return self._rate

    def slow_down(self) -> bool:
        """Halve the rate because the gateway refused; return whether it changed.

        Nothing goes out for a second: the gateway counts those that it has taken.
        """
        now = asyncio.get_running_loop().time()
        self._next = max(self._next, now + _WINDOW_S)
        if self._lowered_at is not None and now - self._lowered_at < _WINDOW_S:
            return False
        before, self._lowered_at = self._rate, now
        self._rate = min(before, max(SLOWEST, before / 2))
        return self._rate < before

    def new_connection(self) -> None:
        """Try the configured rate again if the last connection kept the pace."""
        if self._lowered_at is None:
            self._rate = self._wanted
        self._lowered_at = None

    async def slot(self) -> None:
        """Wait for the next free slot."""
        loop = asyncio.get_running_loop()
        async with self._turn:
            at = loop.time()
            while self._next > loop.time():
                at = self._next
                await asyncio.sleep(at - loop.time())
            self._next = at + 1 / self._rate
