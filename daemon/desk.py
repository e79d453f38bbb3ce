"""The order desk: commit the intent, then the wire, then follow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import date
from decimal import Decimal

import structlog

from daemon.core.model import (
    ConId,
    Order,
    OrderRecord,
    OrderRef,
    OrderState,
    Session,
    Snapshot,
)
from daemon.core.reconcile import Finding
from daemon.errors import InvariantViolated
from daemon.orderbook import OrderBook
from daemon.ports import Broker, Clock, Journal, RunId

log = structlog.get_logger(__name__)


class OrderDesk:
    """Implements `ports.Desk` over a broker, a journal and an order book."""

    def __init__(
        self,
        *,
        broker: Broker,
        journal: Journal,
        clock: Clock,
        book: OrderBook,
        today: Callable[[], Session],
    ) -> None:
        self._broker = broker
        self._today = today
        self._journal = journal
        self._clock = clock
        self._book = book
        self._wire = asyncio.Lock()

    def orders(self, session: date) -> Mapping[OrderRef, OrderRecord]:
        """Return our orders of *session* as known now."""
        return self._book.orders(session)

    async def submit(
        self, family: Sequence[Order], session: Session, run_id: RunId
    ) -> None:
        """Commit the intents, then put the family on the wire, in one breath.

        No await stands between the commit and the first byte: a slot is waited for
        before, and everything is checked again after it.

        Raises:
            AlreadyClaimed: the journal holds one of the references; nothing sent.
            ConnectionLost: the link broke; what was committed stays intended.
        """
        async with self._wire:
            abandoned = False

            async def work() -> None:
                await self._broker.ready_to_send()
                if not abandoned:
                    await self._commit_and_send(family, session, run_id)

            sending = asyncio.get_running_loop().create_task(work(), name="desk.family")
            try:
                await asyncio.shield(sending)
            except asyncio.CancelledError:
                # Half a family at the broker is neither an order nor none: what has
                # begun goes out whole, what has not never does.
                abandoned = True
                await asyncio.wait({sending})
                if not sending.cancelled() and (failure := sending.exception()):
                    log.warning("family.interrupted", cause=str(failure))
                raise

    async def _commit_and_send(
        self, family: Sequence[Order], session: Session, run_id: RunId
    ) -> None:
        """Commit, and send the first leg without an await in between."""
        ids = self._broker.reserve_order_ids(
            len(family), self._journal.highest_order_id()
        )
        now = self._clock.now()
        for order in family:
            if order.expires_at is not None and now > order.expires_at:
                raise InvariantViolated(f"{order.order_ref} has expired")
        records = [
            OrderRecord(order=order, session=session.date, order_id=order_id)
            for order, order_id in zip(family, ids, strict=True)
        ]
        self._journal.intend(records, run_id, now)
        self._book.add(records)
        await self._broker.send(list(zip(ids, family, strict=True)))
        self._book.mark((o.order_ref for o in family), OrderState.SENT)

    @asynccontextmanager
    async def between_families(self) -> AsyncIterator[None]:
        """Wait until no family is half sent; none begins inside the block."""
        async with self._wire:
            yield

    async def cancel(self, record: OrderRecord) -> None:
        """Ask the broker to cancel one of our orders."""
        log.info("order.cancelling", order_ref=record.order_ref)
        await self._broker.cancel(record.order_id)

    async def wait(
        self,
        refs: Iterable[OrderRef],
        until: Callable[[OrderRecord], bool],
        timeout_s: float,
    ) -> Mapping[OrderRef, OrderRecord]:
        """Wait until *until* holds for every order; return the others."""
        return await self._book.wait(refs, until, timeout_s)

    async def mark(self, refs: Iterable[OrderRef], state: OrderState) -> None:
        """Journal a state that we conclude ourselves."""
        self._book.mark(refs, state)

    @property
    def last_snapshot(self) -> Snapshot | None:
        """Return the last complete sync, None before the first."""
        return self._book.snapshot

    async def reconcile(self) -> Snapshot:
        """Sync with the broker and journal what it says of our orders."""
        snapshot, _ = await self.compare(None)
        return snapshot

    async def compare(
        self, booked: Mapping[ConId, Decimal] | None
    ) -> tuple[Snapshot, tuple[Finding, ...]]:
        """Do the same; return all findings, those about the shares *booked* as well."""
        snapshot = await self._broker.sync()
        today = self._today()
        return snapshot, self._book.adopt(snapshot, today, fresh=False, booked=booked)
