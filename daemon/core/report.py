"""The day's report as a value: a pure function of the executions (F3, I6)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal

from daemon.core import refs
from daemon.core.executions import latest
from daemon.core.flatten import in_scope, remainder
from daemon.core.ledger import ClosedLot, Lot, known_amounts, settle
from daemon.core.model import (
    Bracket,
    Commission,
    ConId,
    ExecId,
    Fill,
    Leg,
    OrderRecord,
    OrderState,
    Position,
    RowOutcome,
    Session,
    Side,
)
from daemon.core.rules import Scope, TradingRules

FOREIGN = "FOREIGN"

_EXIT_TYPES = {
    Leg.STOP_LOSS: "SL",
    Leg.TIMED_EXIT: "TIMED",
    Leg.MARKET_ON_CLOSE: "MOC",
    Leg.MARKET: "MKT",
    Leg.ENTRY: "ENTRY",
}


@dataclass(frozen=True, slots=True)
class PlanDetail:
    """What the plan said of a symbol; prices in USD a share."""

    score: Decimal | None = None
    sector: str = ""
    stop_loss: Decimal | None = None
    take_profit_1: Decimal | None = None
    take_profit_2: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Day:
    """Everything that a report is made of."""

    session: Session
    now: datetime
    final: bool
    """Whether the day is over; a report before that lists what is open."""
    fills: tuple[Fill, ...]
    """The executions of the session, of all clients."""
    commissions: tuple[Commission, ...]
    rows: tuple[RowOutcome, ...] = ()
    orders: tuple[OrderRecord, ...] = ()
    details: Mapping[str, PlanDetail] = field(default_factory=dict)
    positions: tuple[Position, ...] | None = None
    """None: the broker did not answer, which is not an empty account."""
    carried: tuple[Lot, ...] = ()
    """The open lots of the books before the session."""
    opening: tuple[Lot, ...] = ()
    """What the account held when the books began, if they began with this session."""
    own: Mapping[ConId, Decimal] = field(default_factory=dict)
    """Signed shares that our own executions hold; counts with scope `own` only."""


@dataclass(frozen=True, slots=True)
class Trade:
    """Shares of one entry order closed in one way; prices are averages."""

    symbol: str
    side: Side
    bracket: Bracket | None
    entry_ref: str
    entry_day: date
    entry_price: Decimal
    exit_price: Decimal
    quantity: Decimal
    exit_type: str
    pnl: Decimal
    """Gross, in USD."""
    commission: Decimal | None
    """Both sides; None while one of its executions has none."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over the executions of the day, in USD and shares."""

    executions: int
    bought_shares: Decimal
    sold_shares: Decimal
    bought_usd: Decimal
    sold_usd: Decimal
    pnl: Decimal
    """Gross, realized."""
    commission: Decimal
    """The known commissions of the day's executions."""
    entries_filled: int
    """Entry orders with at least one execution, B10: orders, not executions."""
    hits: Mapping[str, int]
    """Exit orders with executions, by exit type; the parts of a split are one."""

    @property
    def net(self) -> Decimal:
        """Return the result after the known commissions."""
        return self.pnl - self.commission


@dataclass(frozen=True, slots=True)
class Report:
    """The day, ready to be written."""

    session: Session
    at: datetime
    final: bool
    trades: tuple[Trade, ...]
    totals: Totals
    pending: tuple[ExecId, ...]
    """Executions of the day whose commission is not known yet."""
    rows: tuple[RowOutcome, ...]
    orders: tuple[OrderRecord, ...]
    details: Mapping[str, PlanDetail]
    open: tuple[Lot, ...]
    opening: tuple[Lot, ...]
    """The opening balances, named by the report with which the books begin."""
    remainder: tuple[Position, ...] | None
    """Whole shares in scope that the broker still shows; None: no answer."""
    differences: tuple[str, ...]
    """Where books and broker disagree on the shares in scope."""
    late: tuple[Fill, ...]
    """Executions after the close, but for those of the auction (MOC)."""

    @property
    def flat(self) -> bool | None:
        """Return whether nothing is left; None where the broker did not answer."""
        return None if self.remainder is None else not self.remainder

    @property
    def unknown(self) -> int:
        """Return how many orders have no evidence of their fate."""
        return sum(order.state is OrderState.UNKNOWN for order in self.orders)

    @property
    def certified(self) -> bool:
        """Return whether the day ended flat, reconciled and without a doubt."""
        clean = not self.differences and not self.unknown
        return self.final and self.flat is True and clean


def build_report(day: Day, rules: TradingRules) -> Report:
    """Return the report of *day*: the same input gives the same report."""
    fills = latest(day.fills)
    amounts = known_amounts(day.commissions)
    books = settle(fills, day.commissions, day.carried)
    return Report(
        session=day.session,
        at=day.now,
        final=day.final,
        trades=tuple(_trades(books.closed)),
        totals=_totals(fills, books.closed, amounts),
        pending=tuple(fill.exec_id for fill in fills if fill.key not in amounts),
        rows=tuple(sorted(day.rows, key=lambda row: row.line)),
        orders=tuple(sorted(day.orders, key=lambda order: order.order_id)),
        details=day.details,
        open=books.open,
        opening=day.opening,
        remainder=_remainder(day, rules),
        differences=_differences(day, books.open, rules),
        late=tuple(fill for fill in fills if _is_late(fill, day.session)),
    )


def exit_type(order_ref: str) -> str:
    """Return how an order closes, from its reference, never from its price."""
    ref = refs.parse(order_ref)
    if ref is None:
        return FOREIGN
    if ref.leg is Leg.TAKE_PROFIT:
        return "TP1" if ref.bracket is Bracket.A else "TP2"
    return _EXIT_TYPES[ref.leg]


_Group = tuple[str, str, date, Side, str]


def _group(lot: ClosedLot) -> _Group:
    entry = lot.entry
    kind = exit_type(lot.exit.order_ref)
    return (entry.symbol, entry.order_ref, entry.time.date(), entry.side, kind)


def _trades(closed: Iterable[ClosedLot]) -> Iterator[Trade]:
    groups: dict[_Group, list[ClosedLot]] = {}
    for lot in closed:
        groups.setdefault(_group(lot), []).append(lot)
    for group in sorted(groups):
        symbol, entry_ref, entry_day, side, kind = group
        lots = groups[group]
        ref = refs.parse(entry_ref)
        shares = sum((lot.quantity for lot in lots), Decimal(0))
        paid = sum((lot.entry.price * lot.quantity for lot in lots), Decimal(0))
        got = sum((lot.exit.price * lot.quantity for lot in lots), Decimal(0))
        yield Trade(
            symbol=symbol,
            side=side,
            bracket=ref.bracket if ref else None,
            entry_ref=entry_ref,
            entry_day=entry_day,
            entry_price=paid / shares,
            exit_price=got / shares,
            quantity=shares,
            exit_type=kind,
            pnl=sum((lot.pnl for lot in lots), Decimal(0)),
            commission=_commission(lots),
        )


def _commission(lots: Iterable[ClosedLot]) -> Decimal | None:
    total = Decimal(0)
    for lot in lots:
        if lot.commission is None:
            return None
        total += lot.commission
    return total


def _totals(
    fills: Iterable[Fill], closed: Iterable[ClosedLot], amounts: Mapping[str, Decimal]
) -> Totals:
    fills, closed = tuple(fills), tuple(closed)
    bought = [fill for fill in fills if fill.side is Side.BUY]
    sold = [fill for fill in fills if fill.side is Side.SELL]
    return Totals(
        executions=len(fills),
        bought_shares=sum((f.quantity for f in bought), Decimal(0)),
        sold_shares=sum((f.quantity for f in sold), Decimal(0)),
        bought_usd=sum((f.quantity * f.price for f in bought), Decimal(0)),
        sold_usd=sum((f.quantity * f.price for f in sold), Decimal(0)),
        pnl=sum((lot.pnl for lot in closed), Decimal(0)),
        commission=sum((amounts.get(f.key, Decimal(0)) for f in fills), Decimal(0)),
        entries_filled=_entries_filled(fills),
        hits=_hits(closed),
    )


def _entries_filled(fills: Iterable[Fill]) -> int:
    found = {fill.order_ref: refs.parse(fill.order_ref) for fill in fills}
    return sum(ref is not None and ref.leg is Leg.ENTRY for ref in found.values())


def _hits(closed: Iterable[ClosedLot]) -> Mapping[str, int]:
    """Return the exit orders by type; a foreign one is known by its perm id."""
    orders = set()
    for lot in closed:
        ref = refs.parse(lot.exit.order_ref)
        bracket = ref.bracket if ref else lot.exit.perm_id
        orders.add((exit_type(lot.exit.order_ref), lot.exit.symbol, bracket))
    hits: dict[str, int] = {}
    for kind, _, _ in sorted(orders, key=repr):
        hits[kind] = hits.get(kind, 0) + 1
    return hits


def _is_late(fill: Fill, session: Session) -> bool:
    # The auction begins with the bell: all of its executions come after it.
    auction = _EXIT_TYPES[Leg.MARKET_ON_CLOSE]
    return fill.time > session.close and exit_type(fill.order_ref) != auction


def _remainder(day: Day, rules: TradingRules) -> tuple[Position, ...] | None:
    if day.positions is None:
        return None
    left = remainder(day.positions, rules, day.own)
    return tuple(sorted(left, key=lambda position: position.symbol))


def _differences(day: Day, lots: Iterable[Lot], rules: TradingRules) -> tuple[str, ...]:
    """Return where books and broker disagree on the stocks in scope."""
    if day.positions is None:
        return ()
    lots = [lot for lot in lots if lot.fill.account == rules.account]
    positions = [p for p in day.positions if p.account == rules.account]
    symbols = {lot.fill.con_id: lot.fill.symbol for lot in lots}
    symbols |= {p.con_id: p.symbol for p in positions}
    books = day.own if rules.scope is Scope.OWN else _shares(lots)
    broker = {p.con_id: in_scope(p, rules, day.own) for p in positions}
    other = {p.con_id for p in positions if p.sec_type != "STK"}
    told = (
        (symbol, books.get(con_id, Decimal(0)), broker.get(con_id, Decimal(0)))
        for con_id, symbol in symbols.items()
        if con_id not in other and not rules.ignores(symbol)
    )
    return tuple(
        f"{symbol}: books {booked}, broker {held}"
        for symbol, booked, held in sorted(told)
        if booked != held
    )


def _shares(lots: Iterable[Lot]) -> Mapping[ConId, Decimal]:
    held: dict[ConId, Decimal] = {}
    for lot in lots:
        con_id = lot.fill.con_id
        held[con_id] = held.get(con_id, Decimal(0)) + lot.signed
    return held
