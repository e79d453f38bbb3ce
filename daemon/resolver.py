"""Brings every order of unknown fate to an end that the broker's evidence proves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal

import structlog

from daemon.core import order_messages
from daemon.core.lifecycle import cancel_answered
from daemon.core.model import (
    ConId,
    Message,
    OrderRecord,
    OrderRef,
    Session,
    Snapshot,
)
from daemon.core.reconcile import Finding, Unbooked
from daemon.desk import OrderDesk
from daemon.errors import ConnectionLost, RequestRefused
from daemon.orderbook import OrderBook
from daemon.ports import Broker

log = structlog.get_logger(__name__)

PAUSES_S = (2.0, 10.5, 2.0, 2.0, 10.5, 30.0, 30.0, 60.0, 60.0, 300.0)
"""Before each look at what is unknown; the last one repeats.

The first lets orders arrive that the gateway has just taken; after the second two
silent answers lie ten seconds apart and entries are asked for, then their children.
"""
ANSWERS_S = 5.0
"""Longest wait for the answers to the cancels of one look."""
YOUNG = timedelta(seconds=30)
"""Positions may lack an execution of so short a time ago, and books its position."""
QUIET_S = 15.0
"""Without news for so long, positions have caught up with executions (1-5 s)."""


class Resolver:
    """Looks for unknown orders while the session stands, and asks until it is clear.

    Args:
        broker: the session to the gateway.
        desk: syncs, cancels and waits.
        book: knows which orders are of unknown fate.
        today: the session of the day, or the last one before.
        booked: the shares that the executions make, None before there are books.
        tell: takes a message for the person; must not block.
    """

    def __init__(
        self,
        *,
        broker: Broker,
        desk: OrderDesk,
        book: OrderBook,
        today: Callable[[], Session],
        booked: Callable[[], Mapping[ConId, Decimal] | None],
        tell: Callable[[Message], None],
    ) -> None:
        self._broker = broker
        self._desk = desk
        self._book = book
        self._today = today
        self._booked = booked
        self._tell = tell
        self._tidied_s = 0.0
        self._uncompared = True
        """Whether positions were not compared with the books since the last sync."""
        self._differing: frozenset[Unbooked] = frozenset()
        """The differences that were told."""

    def synced(self) -> None:
        """Compare the books with the positions soon: somebody may have traded."""
        self._uncompared = True

    async def run(self) -> None:
        """Resolve what becomes unknown, until cancelled."""
        while True:
            unknown = {record.order_ref for record in self._book.unknown()}
            if unknown:
                await self._resolve(unknown)
            else:
                await self._wait_for_work()

    async def _wait_for_work(self) -> None:
        """Wait until an order changes; in quiet moments look at what else is open."""
        self._tidy()
        try:
            async with asyncio.timeout(QUIET_S):
                await self._book.changed()
        except TimeoutError:
            if self._broker.connected and (booked := self._to_compare()) is not None:
                await self._look(booked)

    def _tidy(self) -> None:
        """Let the order book tell what nobody waits for, every now and then."""
        now = asyncio.get_running_loop().time()
        if now - self._tidied_s >= QUIET_S:
            self._tidied_s = now
            self._book.name_the_overdue()

    async def _resolve(self, wanted: set[OrderRef]) -> None:
        """Ask again and again, less and less often, until nothing is unknown."""
        looks = 0
        while unknown := self._book.unknown():
            fresh = {record.order_ref for record in unknown} - wanted
            wanted |= fresh
            looks = 0 if fresh else looks
            await self._pause(PAUSES_S[min(looks, len(PAUSES_S) - 1)], wanted)
            looks += 1
            await self._broker.wait_ready()
            await self._look(self._to_compare() if looks > 1 else None)
            self._tidy()
        self._say_resolved(wanted)

    async def _pause(self, seconds: float, known: set[OrderRef]) -> None:
        """Wait, or until another order becomes unknown."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while {record.order_ref for record in self._book.unknown()} <= known:
                    await self._book.changed()

    def _to_compare(self) -> Mapping[ConId, Decimal] | None:
        """Return the books where positions have settled and were not compared."""
        return self._booked() if self._uncompared else None

    async def _look(self, booked: Mapping[ConId, Decimal] | None) -> None:
        """Sync; ask the gateway by order id for what its answers do not speak of.

        Positions are compared with the shares that are *booked*, if they are given.
        """
        try:
            snapshot, found = await self._desk.compare(booked)
            if booked is not None and not _young(snapshot):
                self._say_unbooked(found)
            if asked := await self._discard(found, snapshot):
                refs = [record.order_ref for record in asked]
                await self._desk.wait(refs, cancel_answered, ANSWERS_S)
        except (ConnectionLost, RequestRefused) as exc:
            log.info("orders.unresolved", cause=str(exc))

    def _say_unbooked(self, findings: Iterable[Finding]) -> None:
        """Say where positions and books differ, each difference once."""
        self._uncompared = False
        found = frozenset(one for one in findings if isinstance(one, Unbooked))
        if news := sorted(found - self._differing, key=lambda one: one.symbol):
            log.warning("books.differ", symbols=[one.symbol for one in news])
            self._tell(order_messages.unbooked(news))
        self._differing = found

    async def _discard(
        self, findings: Iterable[Finding], snapshot: Snapshot
    ) -> Sequence[OrderRecord]:
        asked = self._book.to_discard(findings, snapshot, self._today())
        for record in asked:
            await self._desk.cancel(record)
        return asked

    def _say_resolved(self, wanted: set[OrderRef]) -> None:
        records = [self._book.record(ref) for ref in sorted(wanted)]
        log.info(
            "orders.resolved",
            order_refs=[record.order_ref for record in records],
            states=[record.state for record in records],
        )
        self._tell(order_messages.resolved(records))


def _young(snapshot: Snapshot) -> bool:
    return any(fill.time > snapshot.at - YOUNG for fill in snapshot.fills)
