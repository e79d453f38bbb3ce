"""What the broker's complete answers say of the orders that the journal knows.

The journal is the truth about intent, the broker about fact: findings are values,
and the shell acts on them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal

from daemon.core import lifecycle, notices, refs
from daemon.core.exposure import is_closing
from daemon.core.matching import Evidence, named_by
from daemon.core.model import (
    Bracket,
    ConId,
    Leg,
    OrderId,
    OrderRecord,
    OrderRef,
    OrderState,
    PermId,
    Session,
    Snapshot,
    WorkingOrder,
)

ABSENCE_S = 10.0
"""Two complete answers this far apart, and silent of an order, prove its absence."""

MISSED_PARENT = 10006

NEVER_PLACED = notices.NOT_FOUND | {103}
"""Codes that leave no order behind where nobody speaks of one: 103 refuses a new
order because its id is taken, 135 and 10147 know no order with the id."""


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The broker speaks of the order, and says what the journal has."""

    record: OrderRecord


@dataclass(frozen=True, slots=True)
class Adopted:
    """The broker says more than the journal has: its word counts (C14)."""

    before: OrderRecord
    after: OrderRecord


@dataclass(frozen=True, slots=True)
class Unknown:
    """Complete answers do not speak of the order, and nothing is proven yet."""

    record: OrderRecord
    since_s: float
    """When the silence began, as `Snapshot.at_s`."""


@dataclass(frozen=True, slots=True)
class Missing:
    """Proven absent: it was never placed, or was discarded, and nobody speaks of it."""

    record: OrderRecord


@dataclass(frozen=True, slots=True)
class Expired:
    """Its session is over and the broker does not work it; how it ended is not told."""

    record: OrderRecord


@dataclass(frozen=True, slots=True)
class Foreign:
    """A working order that is none of ours."""

    order: WorkingOrder


@dataclass(frozen=True, slots=True)
class Unbooked:
    """The broker holds other shares than the executions in the journal make."""

    con_id: ConId
    symbol: str
    held: Decimal
    booked: Decimal


Finding = Confirmed | Adopted | Unknown | Missing | Expired | Foreign | Unbooked


@dataclass(frozen=True, slots=True)
class Known:
    """What the journal knows when the answers come."""

    records: tuple[OrderRecord, ...]
    session: Session
    """Of today, or the last one before today."""
    client_id: int
    silent: Mapping[OrderRef, float] = field(default_factory=dict)
    """Since when complete answers have not spoken of an order, as `Snapshot.at_s`."""
    unsent: Collection[OrderRef] = ()
    """Those that were intended and not marked as sent when their connection ended."""
    booked: Mapping[ConId, Decimal] | None = None
    """Signed shares by contract that the executions make; None: not compared."""


def reconcile(known: Known, snapshot: Snapshot) -> tuple[Finding, ...]:
    """Return what *snapshot* says of every order that is *known* and not over.

    An order that is over is in the findings only where the broker's word changes it.
    """
    spoken, foreign = _spoken(known, snapshot)
    found: list[Finding] = []
    for record in known.records:
        if evidence := spoken.get(record.order_ref):
            after = lifecycle.replay(record, _unrevived(record, evidence))
            changed = after != record
            found.append(Adopted(record, after) if changed else Confirmed(record))
        elif not record.state.terminal:
            found.append(_unspoken(record, known, snapshot))
    found += map(Foreign, foreign)
    return (*found, *_unbooked(known, snapshot))


def _spoken(
    known: Known, snapshot: Snapshot
) -> tuple[dict[OrderRef, list[Evidence]], list[WorkingOrder]]:
    """Return what the answers say of each order of ours, and whose orders are none."""
    by_perm: dict[PermId, OrderRef] = {
        r.perm_id: r.order_ref for r in known.records if r.perm_id
    }
    by_id: dict[OrderId, OrderRef] = {r.order_id: r.order_ref for r in known.records}
    ours = set(by_id.values())
    spoken: dict[OrderRef, list[Evidence]] = {}
    foreign: list[WorkingOrder] = []
    told: tuple[Evidence, ...] = (
        *snapshot.open_orders,
        *snapshot.foreign_orders,
        *snapshot.fills,
        *snapshot.completed_orders,
    )
    for event in told:
        ref = named_by(event, by_perm=by_perm, by_id=by_id, client_id=known.client_id)
        if ref in ours:
            spoken.setdefault(ref, []).append(event)
        elif isinstance(event, WorkingOrder):
            foreign.append(event)
    return spoken, foreign


def _unrevived(record: OrderRecord, evidence: Iterable[Evidence]) -> Iterable[Evidence]:
    """Leave out an open order whose end was told after the list of open orders."""
    over = record.state.terminal
    return (e for e in evidence if not (over and isinstance(e, WorkingOrder)))


def _unspoken(
    record: OrderRecord, known: Known, snapshot: Snapshot
) -> Unknown | Missing | Expired:
    """Judge an order of which complete answers do not speak.

    Absence proves something only where the answers cover the order's whole life:
    executions and completed orders end at the gateway's midnight, which lies behind
    the close of every session.
    """
    at = snapshot.at
    if record.session < known.session.date or at > known.session.close + _NIGHT:
        return Expired(record)
    since_s = known.silent.get(record.order_ref, snapshot.at_s)
    too_soon = snapshot.at_s - since_s < ABSENCE_S
    unproven = record.state is not OrderState.UNKNOWN or too_soon
    if unproven or at > known.session.close or not _no_trace(record):
        return Unknown(record, since_s)
    return Missing(record)


_NIGHT = timedelta(hours=4)
"""Behind the close: every DAY order of the session has been ended by the broker."""


def _no_trace(record: OrderRecord) -> bool:
    """Return whether the gateway says that it has no such order, and never had it.

    Of an order with a perm id it may have forgotten how it ended (its midnight).
    """
    unheard = not record.filled and not record.perm_id
    return unheard and record.code in NEVER_PLACED


def _unbooked(known: Known, snapshot: Snapshot) -> Iterable[Unbooked]:
    if known.booked is None:
        return
    held = {p.con_id: p for p in snapshot.positions}
    symbols = {r.order.contract.con_id: r.order.contract.symbol for r in known.records}
    for con_id in sorted({*held, *known.booked}):
        position = held.get(con_id)
        shares = position.quantity if position else Decimal(0)
        booked = known.booked.get(con_id, Decimal(0))
        if shares != booked:
            name = position.symbol if position else symbols.get(con_id, str(con_id))
            yield Unbooked(con_id, name, shares, booked)


# --- families that were sent by half ----------------------------------------------

_ALIVE = frozenset({OrderState.ACKNOWLEDGED, OrderState.WORKING, OrderState.FILLED})
CLOSING_SILENCE_S = 150.0
"""A closing order that is merely slow must not be ended by the question for it.

One that was not even marked as sent is not slow.
"""
_LAST_CANCEL = timedelta(minutes=3)
"""Before the cutoff: a closing order that is ended later may not be replaced."""


def to_discard(
    known: Known, findings: Iterable[Finding], snapshot: Snapshot
) -> tuple[OrderRecord, ...]:
    """Return the orders to cancel by the ids that were journaled before the wire.

    A family of which the last leg did not arrive lies untransmitted at the gateway,
    in no answer; a later leg could still release it. Asked to cancel one, the
    gateway says that it was discarded (202 with 161) or that it has none (10147).
    The question can end an order that is only slow, so it waits for two silent
    answers, and children wait for what becomes of their entry: a stop is never asked
    for while its entry may live. Left alone are families of which any leg is alive
    or has executed, and ids under which the gateway shows another order.
    """
    taken = {order.order_id for order in snapshot.open_orders}
    alive = {_family(r) for r in known.records if r.filled or r.state in _ALIVE}
    open_entries = {
        _family(r)
        for r in known.records
        if _leg(r) is Leg.ENTRY and not (r.state.terminal or r.code in NEVER_PLACED)
    }
    return tuple(
        found.record
        for found in findings
        if isinstance(found, Unknown)
        and found.record.state is OrderState.UNKNOWN
        and found.record.code not in NEVER_PLACED
        and found.record.order_id not in taken
        and _family(found.record) not in alive
        and not _waits_for_its_entry(found.record, open_entries)
        and _silent_enough(found, known, snapshot)
    )


def _waits_for_its_entry(
    record: OrderRecord, open_entries: Collection[tuple[object, ...]]
) -> bool:
    return _leg(record) is not Leg.ENTRY and _family(record) in open_entries


def _silent_enough(found: Unknown, known: Known, snapshot: Snapshot) -> bool:
    closes = is_closing(found.record.order_ref)
    if closes and snapshot.at >= known.session.cutoff - _LAST_CANCEL:
        return False
    slow = closes and found.record.order_ref not in known.unsent
    wanted_s = CLOSING_SILENCE_S if slow else ABSENCE_S
    return snapshot.at_s - found.since_s >= wanted_s


def _leg(record: OrderRecord) -> Leg | None:
    ref = refs.parse(record.order_ref)
    return None if ref is None else ref.leg


def _family(record: OrderRecord) -> tuple[object, ...]:
    ref = refs.parse(record.order_ref)
    if ref is None or is_closing(record.order_ref):
        return (record.order_ref,)
    return (ref.session, ref.symbol, ref.bracket, ref.attempt)


# --- what may be sent again ---------------------------------------------------------


def never_worked(record: OrderRecord) -> bool:
    """Return whether it is proven that the order never was at work at the broker.

    Only such an order may be sent again, as a new attempt: one that a person
    cancelled in TWS has been at work. 202 "Order was discarded" (161 comes with it)
    is said of what was never transmitted alone; its perm id was told to nobody.
    """
    orphaned = record.state is OrderState.REJECTED and record.code == MISSED_PARENT
    if record.filled or not (record.state is OrderState.CANCELLED or orphaned):
        return False
    if orphaned:  # its entry decides: a child without a parent never works
        return not record.perm_id
    discarded = record.code == 202 and "was discarded" in record.text.lower()
    return discarded or _no_trace(record)


def attempts(
    records: Iterable[OrderRecord], symbol: str, bracket: Bracket
) -> Mapping[int, tuple[OrderRecord, ...]]:
    """Return the orders of every attempt at one bracket, by the attempt's number."""
    found: dict[int, tuple[OrderRecord, ...]] = {}
    for record in records:
        ref = refs.parse(record.order_ref)
        if ref and (ref.symbol, ref.bracket) == (symbol, bracket):
            found[ref.attempt] = (*found.get(ref.attempt, ()), record)
    return found


def attempt_of(
    one: OrderRecord, records: Iterable[OrderRecord]
) -> tuple[OrderRecord, ...]:
    """Return the family of *one*, itself included."""
    return tuple(record for record in records if _family(record) == _family(one))


def last_attempt(records: Collection[OrderRecord]) -> tuple[OrderRecord, ...]:
    """Return *records* without the attempts that a later one took the place of."""
    newest: dict[tuple[str, Bracket], int] = {}
    for record in records:
        if ref := refs.parse(record.order_ref):
            key = ref.symbol, ref.bracket
            newest[key] = max(newest.get(key, 1), ref.attempt)
    return tuple(r for r in records if _is_newest(r, newest))


def _is_newest(record: OrderRecord, newest: Mapping[tuple[str, Bracket], int]) -> bool:
    ref = refs.parse(record.order_ref)
    if ref is None or is_closing(record.order_ref):
        return True
    return ref.attempt == newest[ref.symbol, ref.bracket]
