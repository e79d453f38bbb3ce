"""The books: executions become lots, first in first out, carried over days.

A pure function of the executions: any order of arrival and any repetition gives
the same books (F3, F8, B10).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from daemon.core import refs
from daemon.core.executions import exec_key, latest, revision
from daemon.core.model import Account, Commission, ConId, Fill, Leg

_GRAIN = Decimal("0.0001")
"""USD: the unit of a split commission; the last part takes the rest exactly."""

Instrument = tuple[Account, ConId]


@dataclass(frozen=True, slots=True)
class Lot:
    """The open rest of one execution; *quantity* is unsigned, in shares."""

    fill: Fill
    quantity: Decimal
    commission: Decimal | None = None
    """The commission of the whole execution; None while it is not known."""

    @property
    def signed(self) -> Decimal:
        """Return the shares with the sign of the position that they make."""
        return self.fill.side.sign * self.quantity


@dataclass(frozen=True, slots=True)
class ClosedLot:
    """Shares of one execution closed by another one."""

    entry: Fill
    exit: Fill
    quantity: Decimal
    entry_commission: Decimal | None
    exit_commission: Decimal | None

    @property
    def pnl(self) -> Decimal:
        """Return the gross result in USD."""
        gain = (self.exit.price - self.entry.price) * self.quantity
        return gain * self.entry.side.sign

    @property
    def commission(self) -> Decimal | None:
        """Return the commission of both sides, None while one is not known."""
        if self.entry_commission is None or self.exit_commission is None:
            return None
        return self.entry_commission + self.exit_commission


@dataclass(frozen=True, slots=True)
class Books:
    """What was closed, in the order of the exits, and what is open."""

    closed: tuple[ClosedLot, ...] = ()
    open: tuple[Lot, ...] = ()

    def holdings(self) -> Mapping[ConId, Decimal]:
        """Return the signed open shares of every instrument, zeros left out."""
        held: dict[ConId, Decimal] = {}
        for lot in self.open:
            con_id = lot.fill.con_id
            held[con_id] = held.get(con_id, Decimal(0)) + lot.signed
        return held


def settle(
    fills: Iterable[Fill],
    commissions: Iterable[Commission] = (),
    carried: Iterable[Lot] = (),
) -> Books:
    """Return the books after *fills*, starting with the lots *carried* over.

    An execution that is already carried is not booked again. A commission that
    arrives later than its lot was carried is taken from *commissions*.
    """
    amounts = known_amounts(commissions)
    queues: dict[Instrument, deque[Lot]] = {}
    for lot in sorted(carried, key=lambda lot: _rank(lot.fill)):
        known = amounts.get(lot.fill.key, lot.commission)
        _queue(queues, lot.fill).append(replace(lot, commission=known))
    booked = {lot.fill.key for queue in queues.values() for lot in queue}
    closed: list[ClosedLot] = []
    for fill in sorted(latest(fills), key=_rank):
        if fill.key not in booked:
            lot = Lot(fill, fill.quantity, amounts.get(fill.key))
            closed.extend(_book(_queue(queues, fill), lot))
    still_open = (lot for queue in queues.values() for lot in queue)
    return Books(tuple(closed), tuple(sorted(still_open, key=lambda o: _rank(o.fill))))


def known_amounts(commissions: Iterable[Commission]) -> Mapping[str, Decimal]:
    """Return the known commission of each execution, at its highest revision."""
    best: dict[str, Commission] = {}
    for commission in commissions:
        if commission.amount is None:
            continue
        key = exec_key(commission.exec_id)
        known = best.get(key)
        if known is None or revision(commission.exec_id) >= revision(known.exec_id):
            best[key] = commission
    return {key: c.amount for key, c in best.items() if c.amount is not None}


def _queue(queues: dict[Instrument, deque[Lot]], fill: Fill) -> deque[Lot]:
    return queues.setdefault((fill.account, fill.con_id), deque())


def _rank(fill: Fill) -> tuple[object, ...]:
    # Execution times have whole seconds: within one, our entry comes before its exit.
    ref = refs.parse(fill.order_ref)
    later = ref is None or ref.leg is not Leg.ENTRY
    return (fill.time, later, fill.exec_id)


def _book(queue: deque[Lot], lot: Lot) -> Iterable[ClosedLot]:
    """Close the oldest opposite lots with *lot*; what is left of it opens a lot."""
    closed = []
    while lot.quantity and queue and queue[0].fill.side is not lot.fill.side:
        oldest = queue.popleft()
        shares = min(oldest.quantity, lot.quantity)
        closed.append(
            ClosedLot(
                entry=oldest.fill,
                exit=lot.fill,
                quantity=shares,
                entry_commission=_share(oldest, shares),
                exit_commission=_share(lot, shares),
            )
        )
        if oldest.quantity > shares:
            queue.appendleft(replace(oldest, quantity=oldest.quantity - shares))
        lot = replace(lot, quantity=lot.quantity - shares)
    if lot.quantity:
        queue.append(lot)
    return closed


def _share(lot: Lot, shares: Decimal) -> Decimal | None:
    """Return the commission of the next *shares* of the lot; all parts sum exactly."""
    if lot.commission is None:
        return None
    used = lot.fill.quantity - lot.quantity
    return _cut(lot, lot.commission, used + shares) - _cut(lot, lot.commission, used)


def _cut(lot: Lot, commission: Decimal, shares: Decimal) -> Decimal:
    if shares == lot.fill.quantity:
        return commission
    return (commission * shares / lot.fill.quantity).quantize(_GRAIN)
