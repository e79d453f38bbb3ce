"""Watches over the journal: tells of a full disk, ends the daemon on damage."""

from __future__ import annotations

import asyncio

import structlog

from daemon.core.model import Message, Severity
from daemon.errors import JournalDamaged, JournalError
from daemon.ports import Journal, Notifier

log = structlog.get_logger(__name__)

LOOK_S = 60.0
"""Between two looks for room while the disk is full."""


class JournalKeeper:
    """Takes what the journal reports, and sees to it."""

    def __init__(self) -> None:
        self._reports: asyncio.Queue[JournalError] = asyncio.Queue()

    def note(self, trouble: JournalError) -> None:
        """Take a report of the journal; it may come in the middle of a write."""
        self._reports.put_nowait(trouble)

    async def run(self, journal: Journal, notifier: Notifier) -> None:
        """See to every report.

        Raises:
            JournalDamaged: the journal is not to be trusted: it is set aside as the
                daemon ends, and the next start closes what is open.
        """
        while True:
            await self._see_to(await self._reports.get(), notifier)
            while not await self._room_again(journal, notifier):
                log.info("journal.cramped")

    async def _see_to(self, trouble: JournalError, notifier: Notifier) -> None:
        if isinstance(trouble, JournalDamaged):
            raise trouble
        log.error("journal.no_room", cause=str(trouble))
        message = Message(Severity.ALARM, "No room for the journal", str(trouble))
        await notifier.tell(message)

    async def _room_again(self, journal: Journal, notifier: Notifier) -> bool:
        """Wait a while, look for room, and say that there is some again."""
        try:
            async with asyncio.timeout(LOOK_S):
                await self._see_to(await self._reports.get(), notifier)
        except TimeoutError:
            if not journal.make_room():
                return False
            log.info("journal.roomy")
            subject = "Room for the journal again"
            body = "Entries may be sent again; a plan that was not sent needs a restart"
            await notifier.tell(Message(Severity.INFO, subject, body))
            return True
        return False
