"""The books: executions become lots, first in first out, carried over days.

A pure function of the executions: any order of arrival and any repetition gives
the same books (F3, F8, B10).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal, InvalidOperation

from daemon.core import refs
from daemon.core.executions import exec_key, latest, net, revision, shares
from daemon.core.model import (
    Account,
    Commission,
    ConId,
    ExecId,
    Fill,
    Leg,
    OrderId,
    OrderRef,
    PermId,
    Position,
    Side,
)
from daemon.errors import JournalError

_GRAIN = Decimal("0.0001")
"""USD: the unit of a split commission; the last part takes the rest exactly."""

_OPENING = "opening:"
"""Begins the exec id of what no execution bought: it was held before the books."""

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


def opening_balances(
    positions: Iterable[Position],
    fills: Iterable[Fill],
    account: Account,
    at: datetime,
) -> tuple[Lot, ...]:
    """Return what the account held before the first of *fills*, all that are known.

    The books start with these lots, so that books and broker agree at *at*.
    """
    held = {p.con_id: p for p in positions if p.account == account}
    traded: dict[ConId, list[Fill]] = {}
    for fill in latest(fills):
        if fill.account == account:
            traded.setdefault(fill.con_id, []).append(fill)
    lots = (
        _opening(con_id, held.get(con_id), traded.get(con_id, []), at)
        for con_id in sorted({*held, *traded})
    )
    return tuple(lot for lot in lots if lot is not None)


def opening_json(lots: Iterable[Lot]) -> list[dict[str, object]]:
    """Return opening balances as the journal keeps them; `opening_lots` reads them."""
    return [
        {
            "con_id": lot.fill.con_id,
            "symbol": lot.fill.symbol,
            "account": lot.fill.account,
            "quantity": str(lot.signed),
            "average_cost": str(lot.fill.price),
            "at": lot.fill.time.isoformat(),
        }
        for lot in lots
    ]


def opening_lots(stored: object) -> tuple[Lot, ...]:
    """Return the opening balances that the journal keeps; None holds no lot.

    Raises:
        JournalError: *stored* is not what `opening_json` once returned.
    """
    if stored is None:
        return ()
    try:
        if not isinstance(stored, list):
            raise TypeError("no list")  # noqa: TRY301 - told as any other damage
        return tuple(
            _opening_lot(
                con_id=ConId(int(entry["con_id"])),
                symbol=str(entry["symbol"]),
                account=Account(entry["account"]),
                quantity=Decimal(entry["quantity"]),
                price=Decimal(entry["average_cost"]),
                at=datetime.fromisoformat(entry["at"]),
            )
            for entry in stored
        )
    except (KeyError, TypeError, ValueError, InvalidOperation) as exc:
        raise JournalError(
            f"the opening balances cannot be read ({exc!r}): restore the journal"
        ) from exc


def own_shares(
    fills: Iterable[Fill], account: Account, opening: Iterable[Lot] = ()
) -> Mapping[ConId, Decimal]:
    """Return the signed shares that our own executions hold, by con id.

    *opening* is what others held before. An account is never long and short at
    once: who trades beyond their own shares trades those of the other.
    """
    ours: dict[ConId, Decimal] = {}
    others: dict[ConId, Decimal] = {}
    for lot in opening:
        if lot.fill.account == account:
            _trade(others, ours, lot.fill.con_id, lot.signed)
    for fill in sorted(latest(fills), key=_rank):
        if fill.account == account:
            mine = refs.parse(fill.order_ref) is not None
            books = (ours, others) if mine else (others, ours)
            _trade(*books, fill.con_id, fill.side.sign * fill.quantity)
    return {con_id: held for con_id, held in ours.items() if held}


def _trade(
    trader: dict[ConId, Decimal],
    other: dict[ConId, Decimal],
    con_id: ConId,
    signed: Decimal,
) -> None:
    """Book *signed* shares for *trader*; what goes across zero is the other's."""
    held = trader.get(con_id, Decimal(0)) + signed
    against = other.get(con_id, Decimal(0))
    if held * against < 0:
        both = min(held, -against, key=abs)
        held, against = held - both, against + both
    trader[con_id], other[con_id] = held, against


def _opening(
    con_id: ConId, position: Position | None, fills: list[Fill], at: datetime
) -> Lot | None:
    """Return the lot of one stock that no execution explains, if there is one."""
    if position is not None and position.sec_type != "STK":
        return None
    held = Decimal(0) if position is None else position.quantity
    quantity = held - net(fills)
    if not quantity:
        return None
    if position is not None and quantity * held > 0:
        symbol, account, price = (
            position.symbol,
            position.account,
            position.average_cost,
        )
    else:
        # Closed before anybody could say its cost: neither a gain nor a loss.
        against = [fill for fill in fills if fill.side.sign * quantity < 0]
        symbol, account = against[0].symbol, against[0].account
        price = sum((f.price * f.quantity for f in against), Decimal(0))
        price /= shares(against)
    return _opening_lot(con_id, symbol, account, quantity, price, at)


def _opening_lot(
    con_id: ConId,
    symbol: str,
    account: Account,
    quantity: Decimal,
    price: Decimal,
    at: datetime,
) -> Lot:
    fill = Fill(
        exec_id=ExecId(f"{_OPENING}{symbol}"),
        order_ref=OrderRef(""),
        order_id=OrderId(0),
        perm_id=PermId(0),
        client_id=0,
        account=account,
        con_id=con_id,
        symbol=symbol,
        side=Side.BUY if quantity > 0 else Side.SELL,
        quantity=abs(quantity),
        price=price,
        time=at,
    )
    return Lot(fill, fill.quantity, Decimal(0))


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
    # What was held before the books began was bought before everything in them.
    # Execution times have whole seconds: within one, our entry comes before its exit.
    ref = refs.parse(fill.order_ref)
    later = ref is None or ref.leg is not Leg.ENTRY
    executed = not fill.exec_id.startswith(_OPENING)
    return (executed, fill.time, later, fill.exec_id)


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
