"""The outbox: a message is journaled first, then told, then noted as accepted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from daemon.core.model import Message
from daemon.errors import JournalError, NotifyError
from daemon.notify.channels import Channel, LogChannel
from daemon.ports import Clock, Journal


@dataclass(frozen=True, slots=True)
class OutboxNotifier:
    """Tells a message on every channel; a failing channel is itself visible (A4)."""

    journal: Journal
    clock: Clock
    channels: Sequence[Channel]
    log: Any = field(default_factory=structlog.get_logger)
    """A structlog logger; structlog types it as Any itself."""

    async def tell(self, message: Message) -> bool:
        """Return whether a channel accepted *message*; never raises for a channel.

        Beside other channels the log's acceptance does not count.

        Raises:
            JournalError: the message could not be journaled; it was told all the same.
        """
        try:
            number = self.journal.record_message(message, self.clock.now())
        except JournalError:
            # A full disk is no reason to be silent about it.
            await self._tell_all(message, None)
            raise
        return await self._tell_all(message, number)

    async def _tell_all(self, message: Message, number: int | None) -> bool:
        """Return whether a channel accepted *message*, after trying all of them."""
        accepted = [
            channel
            for channel in self.channels
            if await self._told(channel, message, number)
        ]
        if _counts(accepted, self.channels):
            return True
        self.log.error("notify.undelivered", number=number, subject=message.subject)
        return False

    async def _told(
        self, channel: Channel, message: Message, number: int | None
    ) -> bool:
        """Return whether *channel* accepted *message*, noted under its number."""
        try:
            await channel.send(message)
        except NotifyError as exc:
            self.log.warning(
                "notify.failed", channel=channel.name, number=number, cause=str(exc)
            )
            return False
        except Exception:  # a channel is foreign code: its bug must not end the day
            self.log.exception("notify.crashed", channel=channel.name, number=number)
            return False
        if number is not None:
            self.journal.record_accepted(number, channel.name, self.clock.now())
        return True


def _counts(accepted: Sequence[Channel], channels: Sequence[Channel]) -> bool:
    """Return whether the message has reached whom it can reach.

    Nobody reads the log during an incident: it counts only where it is all there is.
    """
    only_log = all(isinstance(channel, LogChannel) for channel in channels)
    return any(only_log or not isinstance(channel, LogChannel) for channel in accepted)
