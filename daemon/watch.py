"""Tells of outages: one alert for each, after a while, and one all-clear."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, tzinfo

import structlog

from daemon.core.model import BrokerEvent, Message, Notice
from daemon.core.outages import (
    FLAPS,
    HELD,
    PATIENCE,
    SILENT,
    STABLE,
    Memory,
    Outage,
    Outlook,
    Teller,
    alerts,
    flapping,
    planned,
)
from daemon.errors import JournalError
from daemon.ports import Broker, Clock, Journal, Notifier

log = structlog.get_logger(__name__)

TICK_S = 5.0
"""Between two looks during an outage; the wall clock counts, which may jump."""

LONG_S, LONG_TICK_S = 120.0, 30.0
"""After this long the looks are rarer: what is due then is due by the minute."""

STORED = "outages"
"""The key of the journal's value that lets an outage survive a restart."""

_CLIENT_ID_IN_USE = 326


class LinkWatch:
    """Watches one session; `run` is a task for a task group.

    Args:
        broker: whose session it is.
        clock: the wall clock.
        notifier: tells of a key only once, also across restarts.
        journal: keeps an outage that is going on.
        outlook: says what an outage means now, and which are planned.
        zone: in which times are told.
    """

    def __init__(
        self,
        *,
        broker: Broker,
        clock: Clock,
        notifier: Notifier,
        journal: Journal,
        outlook: Callable[[], Outlook],
        zone: tzinfo,
    ) -> None:
        self._broker = broker
        self._clock = clock
        self._notifier = notifier
        self._journal = journal
        self._outlook = outlook
        self._zone = zone
        self._memory = Memory()
        self._short: deque[datetime] = deque(maxlen=FLAPS)
        """When the last short losses began."""
        self._held: tuple[datetime, datetime] | None = None
        """The first and the last 326 of a row."""

    def hear(self, event: BrokerEvent) -> None:
        """Take one event of the broker: a refused client id is watched by its 326."""
        if isinstance(event, Notice) and event.code == _CLIENT_ID_IN_USE:
            now = self._clock.now()
            row = self._held if self._held and now - self._held[1] <= SILENT else None
            self._held = (row[0] if row else now, now)

    async def run(self) -> None:
        """Tell of every outage and of its end, until cancelled."""
        self._memory = Memory.of_json(self._journal.value(STORED))
        if self._memory.outage is not None and self._memory.outage.ended is not None:
            await self._all_clear(self._memory.outage)
        await self._outlast()  # a daemon starts without a session: that is no loss
        while True:
            await self._stand()
            lost = self._clock.now()
            cause = self._broker.trouble
            if not await self._outlast():
                await self._count(lost, cause)

    async def _stand(self) -> None:
        """Wait until the session is lost; tell when it has become stable again."""
        while self._memory.flaps is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(STABLE.total_seconds()):
                    await self._broker.wait_lost()
                    return
            await self._tell(self._teller().stable(self._memory.flaps))
            self._keep(replace(self._memory, flaps=None))
        await self._broker.wait_lost()

    async def _outlast(self) -> bool:
        """Tell what is due until a session stands; return whether that is all told.

        What was too short to be told, and not planned, is not.
        """
        outage = self._memory.outage or Outage(self._clock.now())
        self._keep_outage(outage)
        began_s = asyncio.get_running_loop().time()
        lasted_s = 0.0
        while not await self._ready_within(
            TICK_S if lasted_s < LONG_S else LONG_TICK_S
        ):
            lasted_s = asyncio.get_running_loop().time() - began_s
            if lasted_s >= PATIENCE.total_seconds():
                await self._tell_due()
        return await self._ended()

    async def _ready_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._broker.wait_ready()
                return True
        return False

    async def _tell_due(self) -> None:
        """Tell the newest alert that is due; those that it overtakes are not news."""
        teller = self._teller()
        outage = self._outage(teller.now)
        due = [
            alert
            for alert in alerts(outage.since, teller.outlook, teller.now)
            if alert.name not in outage.told
        ]
        if due:
            await self._tell(teller.alert(outage, due[-1], self._broker.trouble))
            outage = outage.tell(alert.name for alert in due)
            self._keep_outage(outage)
        held_since = self._held_since(teller.now)
        if held_since is not None and "held" not in outage.told:
            await self._tell(teller.held(outage, self._broker.client_id, held_since))
            self._keep_outage(outage.tell(["held"]))

    def _outage(self, now: datetime) -> Outage:
        """Return the outage; a clock that was set back must not delay its alert."""
        outage = self._memory.outage or Outage(now)
        if outage.since > now:
            outage = replace(outage, since=now)
            self._keep_outage(outage)
        return outage

    def _held_since(self, now: datetime) -> datetime | None:
        """Return since when another program holds our id, None while that is open."""
        if self._held is None:
            return None
        first, last = self._held
        return first if now - last <= SILENT and last - first >= HELD else None

    async def _ended(self) -> bool:
        """Tell the end of what was told; return whether nothing is left to say."""
        teller = self._teller()
        outage = replace(self._outage(teller.now), ended=teller.now)
        seconds = (teller.now - outage.since).total_seconds()
        self._held = None
        if outage.told:
            log.info("outage.ended", seconds=seconds)
            self._keep_outage(outage)
            await self._all_clear(outage)
            return True
        self._keep(replace(self._memory, outage=None))
        if planned(teller.outlook, outage.since) is None:
            return False
        log.info("outage.planned", seconds=seconds)
        return True

    async def _all_clear(self, outage: Outage) -> None:
        await self._tell(self._teller().restored(outage))
        self._keep(replace(self._memory, outage=None))

    async def _count(self, lost: datetime, cause: str) -> None:
        """Count a short loss; too many within minutes are one alarm."""
        teller = self._teller()
        self._short.append(lost)
        flaps = self._memory.flaps
        if flaps is not None:
            more = replace(flaps, count=flaps.count + 1, last=lost)
            self._keep(replace(self._memory, flaps=more))
        elif found := flapping(self._short, teller.now):
            await self._tell(teller.flaps(found, cause))
            self._keep(replace(self._memory, flaps=found))

    def _teller(self) -> Teller:
        return Teller(self._clock.now(), self._zone, self._outlook())

    async def _tell(self, message: Message) -> None:
        # It was told all the same; who watches must not fall with the journal.
        try:
            await self._notifier.tell(message)
        except JournalError as exc:
            log.warning("outage.unrecorded", cause=str(exc))

    def _keep_outage(self, outage: Outage) -> None:
        self._keep(replace(self._memory, outage=outage))

    def _keep(self, memory: Memory) -> None:
        self._memory = memory
        try:
            self._journal.put_value(STORED, memory.as_json(), self._clock.now())
        except JournalError as exc:
            log.warning("outage.unrecorded", cause=str(exc))
