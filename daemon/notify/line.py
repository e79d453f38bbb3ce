"""One channel and how it fares: a failing stretch is a warning once (A4)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from daemon.core.model import Message
from daemon.core.outbox import LAST_PAUSE_S
from daemon.errors import NotifyError
from daemon.notify.channels import Channel, LogChannel
from daemon.ports import Clock

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Failing:
    """Why a channel accepts nothing, and since when."""

    since: datetime
    cause: str
    hopeless: bool = False
    of_message: bool = False


class Line:
    """A channel that never raises and remembers its failing stretch."""

    def __init__(self, channel: Channel, clock: Clock) -> None:
        self.channel = channel
        self.failing: Failing | None = None
        self._clock = clock
        self._rests_until_s = 0.0
        """On the loop's clock, because the wall clock may step back by an hour."""

    @property
    def name(self) -> str:
        """Return the name under which an acceptance is journaled."""
        return self.channel.name

    @property
    def is_log(self) -> bool:
        """Return whether it is the daemon's own log, which nobody need read."""
        return isinstance(self.channel, LogChannel)

    def pause_s(self) -> float:
        """Return how long it wants to be left alone: after 429, or while hopeless."""
        rest_s = self._rests_until_s - asyncio.get_running_loop().time()
        hopeless = self.failing is not None and self.failing.hopeless
        return max(rest_s, LAST_PAUSE_S if hopeless else 0.0)

    async def send(self, message: Message, number: int | None) -> bool:
        """Return whether the channel accepted *message*, journaled as *number*."""
        if asyncio.get_running_loop().time() < self._rests_until_s:
            return False
        try:
            await self.channel.send(message)
        except NotifyError as exc:
            self._refused(exc, number)
            return False
        except Exception as exc:  # a channel is foreign code: its bug must not end us
            if self.failing is None:
                log.exception("notify.crashed", channel=self.name, number=number)
            self._fails(Failing(self._clock.now(), type(exc).__name__))
            return False
        self._works()
        return True

    def _refused(self, exc: NotifyError, number: int | None) -> None:
        before, loop = self.failing, asyncio.get_running_loop()
        # Once for a stretch, and again where it turns out to need a person.
        known = before is not None and (before.hopeless or not exc.hopeless)
        level = log.debug if known else log.warning
        level("notify.failed", channel=self.name, number=number, cause=str(exc))
        now = self._clock.now()
        self._fails(Failing(now, str(exc), exc.hopeless, exc.of_message))
        self._rests_until_s = loop.time() + exc.retry_after_s

    def _fails(self, failing: Failing) -> None:
        """Keep the newest cause, and since when there is one."""
        since = failing.since if self.failing is None else self.failing.since
        self.failing = replace(failing, since=since)

    def _works(self) -> None:
        before, self.failing = self.failing, None
        if before is not None:
            seconds = (self._clock.now() - before.since).total_seconds()
            log.info("notify.recovered", channel=self.name, seconds=seconds)
