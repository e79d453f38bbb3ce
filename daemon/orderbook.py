"""What we know of our own orders, kept current by the broker's evidence."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal

import structlog

from daemon.core import lifecycle, notices, order_messages, refs
from daemon.core.exposure import is_closing
from daemon.core.model import (
    Bracket,
    BrokerEvent,
    Commission,
    CompletedOrder,
    Fill,
    Leg,
    LinkChange,
    Message,
    Notice,
    OrderId,
    OrderRecord,
    OrderRef,
    OrderState,
    OrderUpdate,
    PermId,
    Snapshot,
    WorkingOrder,
)
from daemon.errors import InvariantViolated
from daemon.ports import Clock, Journal

log = structlog.get_logger(__name__)

ABSENCE = timedelta(seconds=10)
"""Two complete answers this far apart, and silent of an order, prove its absence."""


JOB_TELLS = timedelta(seconds=60)
"""Longest time from an order's intent until the job that sent it waits for it."""


class OrderBook:
    """Follows every order of ours; each change is journaled before it is seen.

    Args:
        journal: where intents come from and states go.
        clock: stamps what is journaled.
        client_id: evidence of other clients never touches our orders.
        tell: takes a message for the person; must not block.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        clock: Clock,
        client_id: int,
        tell: Callable[[Message], None],
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._client_id = client_id
        self._tell = tell
        self._sessions: dict[date, dict[OrderRef, OrderRecord]] = {}
        self._by_id: dict[OrderId, OrderRecord] = {}
        self._by_perm: dict[PermId, OrderRef] = {}
        self._awaited: list[frozenset[OrderRef]] = []
        self._silent: dict[OrderRef, datetime] = {}
        """Since when the broker's complete answers do not speak of an unknown order."""
        self._expected: dict[OrderRef, datetime] = {}
        """Until when the job that sent an order tells of it, not we."""
        self.snapshot: Snapshot | None = None
        """The last complete sync."""
        self._changed = asyncio.Event()
        self._inbox: asyncio.Queue[BrokerEvent] = asyncio.Queue()

    # --- reading -------------------------------------------------------------

    def orders(self, session: date) -> Mapping[OrderRef, OrderRecord]:
        """Return our orders of *session* as known now."""
        if session not in self._sessions:
            self._sessions[session] = {}
            for record in self._journal.orders(session).values():
                self._keep(record)
            self._forget_done(session)
        return self._sessions[session]

    def in_flight(self) -> bool:
        """Return whether an order waits for its acknowledgement."""
        return any(
            record.state in {OrderState.INTENDED, OrderState.SENT}
            for records in self._sessions.values()
            for record in records.values()
        )

    async def wait(
        self,
        order_refs: Iterable[OrderRef],
        until: Callable[[OrderRecord], bool],
        timeout_s: float,
    ) -> Mapping[OrderRef, OrderRecord]:
        """Wait until *until* holds for all; return those for which it holds not.

        Raises:
            InvariantViolated: one of them is no order of ours.
        """
        wanted = frozenset(order_refs)
        self._awaited.append(wanted)
        try:
            async with asyncio.timeout(timeout_s):
                while self._pending(wanted, until):
                    await self._changed.wait()
        except TimeoutError:
            log.info("orders.wait_ended", pending=len(self._pending(wanted, until)))
        finally:
            self._awaited.remove(wanted)
            for ref in wanted:
                self._expected.pop(ref, None)
        return self._pending(wanted, until)

    def _pending(
        self, wanted: frozenset[OrderRef], until: Callable[[OrderRecord], bool]
    ) -> dict[OrderRef, OrderRecord]:
        records = ((ref, self._known(ref)) for ref in sorted(wanted))
        return {ref: record for ref, record in records if not until(record)}

    # --- writing -------------------------------------------------------------

    def add(self, records: Iterable[OrderRecord]) -> None:
        """Take orders whose intents have just been committed."""
        until = self._clock.now() + JOB_TELLS
        for record in records:
            self.orders(record.session)
            self._keep(record)
            self._expected[record.order_ref] = until

    def mark(self, order_refs: Iterable[OrderRef], state: OrderState) -> None:
        """Journal a state that we conclude ourselves: sent, or unknown."""
        for ref in order_refs:
            record = self._known(ref)
            if record.state.terminal or record.state is state:
                continue
            if state is OrderState.SENT and record.state is not OrderState.INTENDED:
                continue  # the broker's evidence was faster
            self._store(record, replace(record, state=state), told=True)

    def put(self, event: BrokerEvent) -> None:
        """Queue one event of the broker; library callbacks do nothing else."""
        self._inbox.put_nowait(event)

    async def pump(self) -> None:
        """Take events as they come; what came together is committed together."""
        while True:
            event = await self._inbox.get()
            with self._journal.together():
                self._take(event)
                self._take_waiting()

    def drain(self) -> None:
        """Take everything that has arrived, now."""
        if not self._inbox.empty():
            with self._journal.together():
                self._take_waiting()

    def adopt(self, snapshot: Snapshot, *, fresh: bool) -> None:
        """Take a complete sync; after a *fresh* connect silence becomes UNKNOWN.

        Open orders and executions arrived as events, too; only completed orders
        are in the answer alone.
        """
        self.drain()
        self.snapshot = snapshot
        with self._journal.together():
            for completed in snapshot.completed_orders:
                self._evidence(completed)
            self._bury_the_absent(snapshot)
        if fresh:
            self._name_the_unknown(snapshot)

    def _take_waiting(self) -> None:
        while not self._inbox.empty():
            self._take(self._inbox.get_nowait())

    def _take(self, event: BrokerEvent) -> None:
        """Journal one event of the broker and move the order it speaks of."""
        self._journal.record_event(event, self._clock.now())
        match event:
            case LinkChange():
                self._link_changed(event)
            case Notice():
                self._notice(event)
            case Commission():
                self._wake()
            case OrderUpdate() | WorkingOrder() | Fill():
                self._evidence(event)

    # --- inside -------------------------------------------------------------

    def _keep(self, record: OrderRecord) -> None:
        self._sessions[record.session][record.order_ref] = record
        self._by_id[record.order_id] = record
        if record.perm_id:
            self._by_perm[record.perm_id] = record.order_ref

    def _find(self, ref: OrderRef) -> OrderRecord | None:
        parsed = refs.parse(ref)
        return None if parsed is None else self.orders(parsed.session).get(ref)

    def _known(self, ref: OrderRef) -> OrderRecord:
        record = self._find(ref)
        if record is None:
            raise InvariantViolated(f"{ref} is no order of ours")
        return record

    def _forget_done(self, before: date) -> None:
        """Drop the sessions before *before* whose orders ended; the journal has them.

        A daemon runs for months: what it holds must not grow by the day.
        """
        for day in [day for day in self._sessions if day < before]:
            records = self._sessions[day].values()
            if all(record.state.terminal for record in records):
                for record in records:
                    self._by_id.pop(record.order_id, None)
                    self._by_perm.pop(record.perm_id, None)
                    self._expected.pop(record.order_ref, None)
                del self._sessions[day]

    def _match(
        self, event: OrderUpdate | WorkingOrder | Fill | CompletedOrder
    ) -> OrderRecord | None:
        """Find our order by perm id, else by reference, else by our own order id.

        A reference is free text: of another client it proves nothing, and one that
        is not ours belongs to a foreign order, whatever its ids.
        """
        ref = self._by_perm.get(event.perm_id)
        if ref and event.order_ref in {"", ref}:
            return self._find(ref)
        if isinstance(event, CompletedOrder):
            return self._find(event.order_ref) if event.order_ref else None
        if event.client_id != self._client_id:
            return None
        if event.order_ref:
            return self._find(event.order_ref)
        record = self._by_id.get(event.order_id)
        return None if record is None else self._find(record.order_ref)

    def _evidence(
        self, event: OrderUpdate | WorkingOrder | Fill | CompletedOrder
    ) -> None:
        record = self._match(event)
        if record is None:
            if isinstance(event, Fill):
                log.warning("fill.foreign", symbol=event.symbol, shares=event.quantity)
            self._wake()
            return
        after = lifecycle.advance(record, event)
        self._store(record, after)
        if isinstance(event, Fill) and after != record:
            self._log_fill(record, event)
            self._watch_crossing(after, event)

    def _notice(self, notice: Notice) -> None:
        known = self._by_id.get(OrderId(notice.order_id))
        record = None if known is None else self._find(known.order_ref)
        rule = notices.rule(notice.code)
        if record is None:
            level = log.debug if rule.disposition in _QUIET else log.warning
            level("gateway.notice", code=notice.code, text=notice.text)
            return
        log.info(
            "order.noticed",
            order_ref=record.order_ref,
            code=notice.code,
            text=notice.text,
        )
        if notices.queued_beyond(notice, record.session):
            self._tell(order_messages.queued(record, notice))
        self._store(record, lifecycle.advance(record, notice))

    def _store(
        self, before: OrderRecord, after: OrderRecord, *, told: bool = False
    ) -> None:
        if after != before:
            self._journal.record_state(after, self._clock.now())
            self._keep(after)
            if after.state is not before.state:
                self._announce(before, after)
                if not told and not self._is_awaited(after.order_ref):
                    self._alarm(after)
        self._wake()

    def _announce(self, before: OrderRecord, after: OrderRecord) -> None:
        log.info(
            f"order.{after.state.value}",  # noqa: G004  (one event name per state)
            order_ref=after.order_ref,
            order_id=after.order_id,
            perm_id=after.perm_id,
            before=before.state.value,
            filled=after.filled,
        )

    def _alarm(self, record: OrderRecord) -> None:
        """Tell of an order that ended badly when no job looks at it."""
        if record.state is OrderState.REJECTED:
            self._tell(order_messages.late_refusal(record))
        elif record.state is OrderState.UNKNOWN:
            self._tell(order_messages.doubtful(record))
        elif record.state is OrderState.CANCELLED and _closes(record):
            self._tell(order_messages.closing_died(record))

    def _is_awaited(self, ref: OrderRef) -> bool:
        if any(ref in wanted for wanted in self._awaited):
            return True
        until = self._expected.get(ref)
        return until is not None and self._clock.now() < until

    def _watch_crossing(self, record: OrderRecord, fill: Fill) -> None:
        """Alarm what the broker forces across zero (I3, C2).

        It may work an exit at full size after the entry's first shares, and fill the
        rest of the entry into the short that came of it.
        """
        ref = refs.parse(record.order_ref)
        if ref is None:
            return
        if ref.leg in _EXITS:
            beyond = -self._bracket_shares(record.session, ref.symbol, ref.bracket)
            if beyond > 0:
                self._tell(order_messages.oversold(record, beyond))
        elif ref.leg is Leg.ENTRY:
            net = self._bracket_shares(record.session, ref.symbol)
            if net - fill.quantity < 0 < net:
                self._tell(order_messages.turned(record, net))

    def _bracket_shares(
        self, session: date, symbol: str, bracket: Bracket | None = None
    ) -> Decimal:
        """Return the shares that entries bought less those that exits sold."""
        net = Decimal(0)
        for other in self.orders(session).values():
            ref = refs.parse(other.order_ref)
            if (
                ref is None
                or ref.symbol != symbol
                or bracket not in {None, ref.bracket}
            ):
                continue
            if ref.leg is Leg.ENTRY:
                net += other.filled
            elif ref.leg in _EXITS:
                net -= other.filled
        return net

    def _log_fill(self, record: OrderRecord, fill: Fill) -> None:
        log.info(
            "order.executed",
            order_ref=record.order_ref,
            symbol=fill.symbol,
            side=fill.side.value,
            shares=fill.quantity,
            price=fill.price,
            exec_id=fill.exec_id,
        )

    def _link_changed(self, change: LinkChange) -> None:
        if not change.connected:
            log.warning("session.lost", cause=change.cause)

    def _name_the_unknown(self, snapshot: Snapshot) -> None:
        """Silence is not an answer: what nobody speaks of becomes UNKNOWN."""
        spoken = {o.order_ref for o in snapshot.open_orders}
        spoken |= {o.order_ref for o in snapshot.completed_orders}
        lost = [
            record
            for records in self._sessions.values()
            for record in records.values()
            if not record.state.terminal
            and record.state is not OrderState.UNKNOWN
            and record.order_ref not in spoken
        ]
        if lost:
            self.mark([r.order_ref for r in lost], OrderState.UNKNOWN)
            self._tell(order_messages.unknown(lost))

    def _bury_the_absent(self, snapshot: Snapshot) -> None:
        """Call cancelled what the broker did not find, and twice did not speak of.

        Design section 5: absence is proof only in complete answers of the same day.
        """
        orders = (*snapshot.open_orders, *snapshot.foreign_orders)
        spoken = {order.order_ref for order in orders}
        spoken |= {order.order_ref for order in snapshot.completed_orders}
        spoken |= {fill.order_ref for fill in snapshot.fills}
        silent = [
            record
            for records in self._sessions.values()
            for record in records.values()
            if record.state is OrderState.UNKNOWN and record.order_ref not in spoken
        ]
        self._silent = {
            r.order_ref: self._silent.get(r.order_ref, snapshot.at) for r in silent
        }
        for record in silent:
            since = self._silent[record.order_ref]
            today = since.date() == snapshot.at.date()
            proven = today and snapshot.at - since >= ABSENCE
            if proven and record.code in notices.NOT_FOUND:
                dead = lifecycle.conclude(record, OrderState.CANCELLED)
                self._store(record, dead)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


_EXITS = frozenset({Leg.TAKE_PROFIT, Leg.STOP_LOSS, Leg.TIMED_EXIT})
_QUIET = frozenset(
    {
        notices.Disposition.NOTICE,
        notices.Disposition.ORDER_LIVES,
        notices.Disposition.CONNECTION,  # the session names these itself
    }
)


def _closes(record: OrderRecord) -> bool:
    return is_closing(record.order_ref)
