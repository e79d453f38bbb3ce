"""One direction of a connection in memory: latency, cuts, a frozen reader."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Protocol

KERNEL_BYTES = 262_144
"""What has left the program though nobody read it; more waits in the sender."""
TICK_S = 2e-6
"""A loop may call this much before the time."""

Chunker = Callable[[int], int]
"""How many of *n* waiting bytes the next data_received() gets: 1 to n."""


def whole(waiting: int) -> int:
    """Deliver everything that has arrived, joined."""
    return waiting


def bytewise(waiting: int) -> int:  # noqa: ARG001 # a Chunker
    """Deliver one byte at a time."""
    return 1


def at_most(size: int) -> Chunker:
    """Return a chunker that delivers at most *size* bytes at a time."""
    return lambda waiting: min(size, waiting)


def ragged(seed: int) -> Chunker:
    """Return a chunker that cuts anywhere, by *seed*."""
    dice = random.Random(seed)
    return lambda waiting: dice.randint(1, waiting)


class End(Enum):
    """How a stream ends."""

    EOF = "eof"
    RESET = "reset"


class Sender(Protocol):
    """The end that writes."""

    def drain(self) -> None:
        """Let out what has room now."""


class Receiver(Protocol):
    """The end that reads."""

    paused: bool

    def receive(self, data: bytes) -> None:
        """Take arrived *data*."""

    def receive_end(self, end: End) -> None:
        """Take the end of what the sender sends."""


class Pipe:
    """One direction of a connection: bytes in order, then an end.

    *latency_s* (loop seconds from write to arrival) and *chunker* (how arrived bytes
    are cut) may be changed at any time; bytes never overtake each other.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, latency_s: float, chunker: Chunker
    ) -> None:
        self.latency_s = latency_s
        self.chunker = chunker
        self.sender: Sender
        self.receiver: Receiver
        self.pending = 0
        self._loop = loop
        self._frozen = False
        self._cut = False
        self._wire: deque[tuple[float, bytes | End]] = deque()
        self._inbox = bytearray()
        self._end: End | None = None

    @property
    def room(self) -> int:
        """Return how many bytes more leave the sender's program now."""
        return max(0, KERNEL_BYTES - self.pending)

    def freeze(self) -> None:
        """Let bytes arrive but stay unread, as with a stopped process."""
        self._frozen = True

    def thaw(self) -> None:
        """Read on: everything that has arrived is delivered."""
        self._frozen = False
        self._loop.call_soon(self.deliver)

    def cut(self) -> None:
        """Let nothing arrive, as with a pulled cable."""
        self._cut = True

    def heal(self) -> None:
        """Let what was held back arrive."""
        self._cut = False
        self._loop.call_soon(self._land)

    def send(self, item: bytes | End) -> None:
        """Put *item* on the wire behind all that is there."""
        now = self._loop.time()
        due = now + self.latency_s
        self._wire.append((due, item))
        if isinstance(item, bytes):
            self.pending += len(item)
        if due > now:
            self._loop.call_at(due, self._land)
        else:
            self._loop.call_soon(self._land)

    def reset(self) -> None:
        """End with RST behind what is on its way; on a cut line both are lost."""
        if self._cut:
            self._wire.clear()
        else:
            self.send(End.RESET)

    def deliver(self) -> None:
        """Hand over what has arrived, as long as the receiver reads."""
        while self._inbox and self._flows():
            size = self.chunker(len(self._inbox))
            data = bytes(self._inbox[:size])
            del self._inbox[:size]
            self.pending -= len(data)
            self.receiver.receive(data)
        if self._end is not None and not self._inbox and self._flows():
            end, self._end = self._end, None
            self.receiver.receive_end(end)
        self.sender.drain()

    def _flows(self) -> bool:
        return not self._frozen and not self.receiver.paused

    def _land(self) -> None:
        now = self._loop.time() + TICK_S
        while self._wire and self._wire[0][0] <= now and not self._cut:
            _, item = self._wire.popleft()
            if isinstance(item, End):
                self._end = item
            else:
                self._inbox += item
        self.deliver()
