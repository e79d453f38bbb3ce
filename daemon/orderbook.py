"""What we know of our own orders, kept current by the broker's evidence."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal

import structlog

from daemon.core import lifecycle, notices, order_messages, refs
from daemon.core.exposure import (
    EXITS,
    bracket_shares,
    is_closing,
    unguarded_shares,
)
from daemon.core.matching import NOBODYS, Evidence, named_by
from daemon.core.model import (
    BrokerEvent,
    Commission,
    ConId,
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
    Session,
    Snapshot,
    WorkingOrder,
)
from daemon.core.reconcile import (
    Adopted,
    Confirmed,
    Expired,
    Finding,
    Foreign,
    Known,
    Missing,
    Unbooked,
    Unknown,
    attempt_of,
    never_worked,
    reconcile,
    to_discard,
)
from daemon.errors import InvariantViolated
from daemon.ports import Clock, Journal

log = structlog.get_logger(__name__)

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
        self._by_id: dict[OrderId, OrderRef] = {}
        self._by_perm: dict[PermId, OrderRef] = {}
        self._awaited: list[frozenset[OrderRef]] = []
        self._silent: Mapping[OrderRef, float] = {}
        """Since when the broker's complete answers do not speak of an order."""
        self._expected: dict[OrderRef, datetime] = {}
        """Until when the job that sent an order tells of it, not we."""
        self._unsent: set[OrderRef] = set()
        """Unknown orders that were intended, and not marked as sent."""
        self._lost_stops: set[OrderRef] = set()
        """Stops that ended without a fill while no job waited for their end."""
        self._unexplained: set[OrderRef] = set()
        """Refused orders of which nobody has said why, and that were not told."""
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
        return any(record.state in _YOUNG for record in self._of_all_sessions())

    def _of_all_sessions(self) -> Iterator[OrderRecord]:
        """Yield every order that we hold: those of today, and what is not over."""
        for records in self._sessions.values():
            yield from records.values()

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
        records = ((ref, self.record(ref)) for ref in sorted(wanted))
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
        """Journal what we conclude ourselves: sent, or unknown, which is told."""
        lost: list[OrderRecord] = []
        for ref in order_refs:
            record = self.record(ref)
            if record.state.terminal or record.state is state:
                continue
            if state is OrderState.SENT and record.state is not OrderState.INTENDED:
                continue  # the broker's evidence was faster
            after = lifecycle.conclude(record, state)
            self._store(record, after, told=True)
            if state is OrderState.UNKNOWN:
                lost.append(after)
        if lost:
            self._tell(order_messages.unknown(lost))

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

    def adopt(
        self,
        snapshot: Snapshot,
        session: Session,
        *,
        fresh: bool,
        booked: Mapping[ConId, Decimal] | None = None,
    ) -> tuple[Finding, ...]:
        """Reconcile with a complete sync; return what it says of our orders.

        After a *fresh* connect silence makes an order UNKNOWN; within a connection
        the job that sent it still waits for its answer. Positions are compared with
        the shares that are *booked*, if they are given.
        """
        self.drain()
        self.snapshot = snapshot
        self.orders(session.date)
        records = tuple(self._of_all_sessions())
        # What was silent before an outage may have been on its way all through it.
        silent = {} if fresh else self._silent
        known = Known(records, session, self._client_id, silent, booked=booked)
        findings = reconcile(known, snapshot)
        self._silent = {
            found.record.order_ref: found.since_s
            for found in findings
            if isinstance(found, Unknown)
        }
        with self._journal.together():
            for found in findings:
                self._apply(found)
        if fresh:
            self._name_the_unknown(findings)
            self._name_the_strangers(findings)
        return findings

    def _apply(self, found: Finding) -> None:
        """Act on what concerns the state of one order; silence is not an answer."""
        match found:
            case Adopted(before, after):
                self._store(before, after)
            case Missing(record):
                self._conclude(record, OrderState.CANCELLED)
            case Expired(record):
                self._conclude(record, OrderState.UNKNOWN)
                self._conclude(self.record(record.order_ref), OrderState.EXPIRED)
            case Confirmed() | Unknown() | Foreign() | Unbooked():
                pass

    def _conclude(self, record: OrderRecord, state: OrderState) -> None:
        self._store(record, lifecycle.conclude(record, state), told=True)

    def _name_the_unknown(self, findings: Iterable[Finding]) -> None:
        """Silence is not an answer: what nobody speaks of becomes UNKNOWN."""
        lost = [
            found.record
            for found in findings
            if isinstance(found, Unknown)
            and found.record.state is not OrderState.UNKNOWN
        ]
        unsent = (r.order_ref for r in lost if r.state is OrderState.INTENDED)
        self._unsent.update(unsent)
        if lost:
            self.mark([r.order_ref for r in lost], OrderState.UNKNOWN)

    def _name_the_strangers(self, findings: Iterable[Finding]) -> None:
        """Tell of orders under our client id that stand in no journal of ours."""
        strangers = [
            found.order
            for found in findings
            if isinstance(found, Foreign) and found.order.client_id == self._client_id
        ]
        if strangers:
            self._tell(order_messages.strangers(strangers))

    def unknown(self) -> tuple[OrderRecord, ...]:
        """Return our orders of unknown fate."""
        return tuple(
            record
            for record in self._of_all_sessions()
            if record.state is OrderState.UNKNOWN
        )

    def name_the_overdue(self) -> None:
        """Tell of what no job waits for: refusals without a reason, lost stops.

        What was sent and not acknowledged becomes UNKNOWN.
        """
        for ref in sorted(self._lost_stops):
            self._watch_unguarded(self.record(ref))
        for ref in sorted(self._unexplained):
            self._tell(order_messages.late_refusal(self.record(ref)))
        self._unexplained.clear()
        overdue = [
            record
            for record in self._of_all_sessions()
            if record.state in _YOUNG and not self._is_awaited(record.order_ref)
        ]
        if overdue:
            self.mark([r.order_ref for r in overdue], OrderState.UNKNOWN)

    def to_discard(
        self, findings: Iterable[Finding], snapshot: Snapshot, session: Session
    ) -> tuple[OrderRecord, ...]:
        """Return the orders of *session* to ask for by a cancel: `core.reconcile`."""
        records = tuple(self.orders(session.date).values())
        known = Known(records, session, self._client_id, unsent=self._unsent)
        return to_discard(known, findings, snapshot)

    async def changed(self) -> None:
        """Wait until the broker has said something of an order."""
        await self._changed.wait()

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
        self._by_id[record.order_id] = record.order_ref
        if record.perm_id:
            self._by_perm[record.perm_id] = record.order_ref

    def _find(self, ref: OrderRef) -> OrderRecord | None:
        parsed = refs.parse(ref)
        return None if parsed is None else self.orders(parsed.session).get(ref)

    def record(self, ref: OrderRef) -> OrderRecord:
        """Return what is known of one order of ours.

        Raises:
            InvariantViolated: *ref* is no order of ours.
        """
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
                    self._unsent.discard(record.order_ref)
                del self._sessions[day]

    def _evidence(self, event: Evidence) -> None:
        ref = named_by(
            event,
            by_perm=self._by_perm,
            by_id=self._by_id,
            client_id=self._client_id,
        )
        record = None if ref is None else self._find(ref)
        if record is None:
            self._foreign(event)
            return
        after = lifecycle.advance(record, event)
        self._store(record, after)
        if isinstance(event, Fill) and after != record:
            self._log_fill(record, event)
            self._watch_crossing(after, event)

    def _foreign(self, event: Evidence) -> None:
        """Remember whose perm id it is not: a status may carry our order id."""
        if not isinstance(event, OrderUpdate) and event.perm_id:
            self._by_perm[event.perm_id] = NOBODYS
        if isinstance(event, Fill):
            log.warning("fill.foreign", symbol=event.symbol, shares=event.quantity)
        self._wake()

    def _notice(self, notice: Notice) -> None:
        known = self._by_id.get(OrderId(notice.order_id))
        record = None if known is None else self._find(known)
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
            if never_worked(before) and not never_worked(after):
                self._tell(order_messages.revived(after))
            moved = after.state is not before.state
            if moved:
                self._announce(before, after)
                self._note_a_lost_stop(after)
            explained = after.code is not None and after.order_ref in self._unexplained
            if not told and (moved or explained):
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
        """Tell of an order that ended badly when no job looks at it.

        Inactive may come before the code that says why: that is waited for (B5).
        """
        self._unexplained.discard(record.order_ref)
        if self._is_awaited(record.order_ref):
            return
        if record.state is OrderState.REJECTED and record.code is None:
            self._unexplained.add(record.order_ref)
        elif record.state is OrderState.REJECTED:
            self._tell(order_messages.late_refusal(record))
        elif record.state is OrderState.UNKNOWN:
            self._tell(order_messages.doubtful(record))
        elif record.state is OrderState.CANCELLED and _closes(record):
            self._tell(order_messages.closing_died(record))

    def _note_a_lost_stop(self, record: OrderRecord) -> None:
        ref = refs.parse(record.order_ref)
        ended = record.state.terminal and record.state is not OrderState.FILLED
        if ref and ref.leg is Leg.STOP_LOSS and ended:
            if not self._is_awaited(record.order_ref):
                self._lost_stops.add(record.order_ref)
        else:
            self._lost_stops.discard(record.order_ref)

    def _watch_unguarded(self, stop: OrderRecord) -> None:
        """Alarm shares without a stop (B6); a fill may come after its sibling's end."""
        records = self.orders(stop.session).values()
        shares = unguarded_shares(stop, records)
        if shares:
            self._tell(order_messages.unguarded(stop, shares))
        if shares or all(r.state.terminal for r in attempt_of(stop, records)):
            self._lost_stops.discard(stop.order_ref)

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
        records = self.orders(record.session).values()
        if ref.leg in EXITS:
            beyond = -bracket_shares(records, ref.symbol, ref.bracket)
            if beyond > 0:
                self._tell(order_messages.oversold(record, beyond))
        elif ref.leg is Leg.ENTRY:
            net = bracket_shares(records, ref.symbol)
            if net - fill.quantity < 0 < net:
                self._tell(order_messages.turned(record, net))

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

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


_YOUNG = frozenset({OrderState.INTENDED, OrderState.SENT})
_QUIET = frozenset(
    {
        notices.Disposition.NOTICE,
        notices.Disposition.ORDER_LIVES,
        notices.Disposition.CONNECTION,  # the session names these itself
    }
)


def _closes(record: OrderRecord) -> bool:
    return is_closing(record.order_ref)
