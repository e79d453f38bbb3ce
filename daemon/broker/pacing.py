"""Even pacing below the gateway's limit of 50 messages a second."""

from __future__ import annotations

import asyncio


class Pacer:
    """Hands out evenly spaced slots; waiting callers are served in order.

    The gateway counts 50 messages a second and ends a session that breaks the rule
    three times (error 100), so bursts are spread instead of sent at once.
    """

    def __init__(self, messages_per_second: float) -> None:
        self._interval_s = 1 / messages_per_second
        self._next = 0.0

    async def slot(self) -> None:
        """Wait for the next free slot."""
        loop = asyncio.get_running_loop()
        at = max(self._next, loop.time())
        self._next = at + self._interval_s
        delay = at - loop.time()
        if delay > 0:
            await asyncio.sleep(delay)
