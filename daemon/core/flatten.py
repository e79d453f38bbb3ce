"""Plan the way to a flat account: what to cancel, what to close, what remains.

Design section 6. The quantity comes from the broker, never from matching names
(C6); whatever may still execute is taken off first, so that no closing order can
take a position across zero (C2, C8).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from daemon.core import refs
from daemon.core.executions import latest, shares
from daemon.core.exposure import closing_side, describe, live_closing
from daemon.core.model import (
    Bracket,
    ConId,
    Contract,
    Fill,
    Leg,
    Order,
    OrderId,
    OrderRecord,
    OrderState,
    OrderType,
    Position,
    Session,
    WorkingOrder,
)
from daemon.core.rules import Scope, TradingRules

POSITION_LAG = timedelta(seconds=10)
"""Position answers lag behind executions by 1-5 s (reported), so twice that."""

LAST_MARKET = timedelta(minutes=2)
"""No market order is sent later than close-2m."""

_LEGS = {
    OrderType.MARKET_ON_CLOSE: Leg.MARKET_ON_CLOSE,
    OrderType.MARKET: Leg.MARKET,
}
_CANCEL_ORDER = {None: 0, Leg.ENTRY: 0, Leg.TAKE_PROFIT: 1, Leg.STOP_LOSS: 2}
"""Entries first, so that nothing new fills while the exits are taken away."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the broker said, freshly and completely, and what we know of our orders."""

    positions: tuple[Position, ...]
    working: tuple[WorkingOrder, ...]
    """The open orders of all clients."""
    records: tuple[OrderRecord, ...]
    """Our orders of the session, dead ones included."""
    fills_since: tuple[Fill, ...]
    """Executions since the positions were asked for (see `fills_since`)."""
    contracts: Mapping[ConId, Contract]
    """SMART-routed contracts rebuilt from the con ids."""
    own: Mapping[ConId, Decimal] = field(default_factory=dict)
    """Signed shares that our ledger holds; counts with scope `own` only."""
    client_id: int | None = None
    """Ours: a reference of ours under another client id proves nothing."""
    told: tuple[str, ...] = ()
    """The references of all orders of which the broker told, dead ones included: the
    journal in which we intended one may be lost."""


@dataclass(frozen=True, slots=True)
class ClosingPlan:
    """The closing orders, what a person must know, and what is left on purpose."""

    orders: tuple[Order, ...] = ()
    alerts: tuple[str, ...] = ()
    ignored: tuple[Position, ...] = ()
    waiting: tuple[str, ...] = ()
    """Shares left for the next pass, because executions of the last seconds may be
    in the position already: the account is not covered while there are any."""
    notes: tuple[str, ...] = ()
    """What a person must know although nothing is to do: a short that is bought
    back, a fraction of a share, what is not stock."""
    shorts: tuple[str, ...] = ()
    """Those of the notes that nobody expected (C10)."""


def plan_cancels(
    records: Iterable[OrderRecord], working: Iterable[WorkingOrder]
) -> tuple[OrderId, ...]:
    """Return the ids to cancel: entries, then take-profits, then stops.

    *working* are our own open orders as the broker lists them: one without a record
    is cancelled too. Closing orders (MOC, MKT) and timed exits are left alone, so
    running it again does not undo the close (C9).
    """
    records, working = tuple(records), tuple(working)
    intended = {record.order_id for record in records}
    found = {
        record.order_id: refs.parse(record.order_ref)
        for record in records
        if not record.state.terminal and record.state is not OrderState.INTENDED
    }
    # Under our client id, but no intent of ours: whatever its reference says.
    found |= {o.order_id: None for o in working if o.order_id not in intended}
    legs = {order_id: ref.leg if ref else None for order_id, ref in found.items()}
    chosen = [order_id for order_id, leg in legs.items() if leg in _CANCEL_ORDER]
    rank = len(_CANCEL_ORDER)
    return tuple(sorted(chosen, key=lambda i: (_CANCEL_ORDER.get(legs[i], rank), i)))


def fills_since(fills: Iterable[Fill], asked_at: datetime) -> tuple[Fill, ...]:
    """Return the executions that a positions answer of *asked_at* may not show yet.

    Those of the last seconds before it count twice at worst, which closes fewer
    shares now and the rest in the next pass.
    """
    return tuple(f for f in latest(fills) if f.time >= asked_at - POSITION_LAG)


def closing_quantity(
    position: Decimal, fills_since: Iterable[Fill], live_closing: int
) -> int:
    """Return how many whole shares may be closed now; never across zero.

    The position, less every share executed towards zero since the answer, less
    those that a live or unproven closing order may still close. Executions away from
    zero are not added: the answer may hold a purchase and still lack the sale after
    it, so that their sum says too much. The next pass closes the rest.
    """
    reducing = [f for f in fills_since if f.side.sign * position < 0]
    left = abs(position) - shares(reducing)
    return max(0, int(left) - live_closing)


def plan_closing(
    evidence: Evidence,
    session: Session,
    rules: TradingRules,
    order_type: OrderType,
    attempt: int = 1,
) -> ClosingPlan:
    """Return the orders that close every whole share in scope, and the alerts.

    *attempt* is a floor: a symbol that has closing orders of this type already, by our
    records or the broker's word, gets the next number, so that each pass has
    references of its own.
    """
    step = _Step(evidence, session, rules, order_type, attempt)
    plans = [
        _close(position, step)
        for position in sorted(evidence.positions, key=lambda p: (p.symbol, p.con_id))
        if position.account == rules.account and position.quantity
    ]
    return ClosingPlan(
        orders=tuple(order for plan in plans for order in plan.orders),
        alerts=tuple(alert for plan in plans for alert in plan.alerts),
        ignored=tuple(position for plan in plans for position in plan.ignored),
        waiting=tuple(text for plan in plans for text in plan.waiting),
        notes=tuple(text for plan in plans for text in plan.notes),
        shorts=tuple(text for plan in plans for text in plan.shorts),
    )


def remainder(
    positions: Iterable[Position],
    rules: TradingRules,
    own: Mapping[ConId, Decimal] | None = None,
) -> tuple[Position, ...]:
    """Return what keeps the account from being flat: whole shares in scope.

    With scope `own`, *own* are the shares of our ledger; without it every position
    counts, because an unknown book is not an empty one.
    """
    return tuple(
        position
        for position in positions
        if position.account == rules.account
        and position.sec_type == "STK"
        and not rules.ignores(position.symbol)
        and int(in_scope(position, rules, own)) != 0
    )


def in_scope(
    position: Position, rules: TradingRules, own: Mapping[ConId, Decimal] | None
) -> Decimal:
    """Return the signed shares of *position* that are ours to close."""
    if rules.scope is Scope.ACCOUNT or own is None:
        return position.quantity
    held = own.get(position.con_id, Decimal(0))
    if held * position.quantity <= 0:
        return Decimal(0)
    return min(position.quantity, held, key=abs)


@dataclass(frozen=True, slots=True)
class _Step:
    evidence: Evidence
    session: Session
    rules: TradingRules
    order_type: OrderType
    attempt: int

    @property
    def expires_at(self) -> datetime:
        if self.order_type is OrderType.MARKET_ON_CLOSE:
            return self.session.cutoff
        return self.session.close - LAST_MARKET


def _close(position: Position, step: _Step) -> ClosingPlan:
    if step.rules.ignores(position.symbol):
        return ClosingPlan(ignored=(position,))
    scoped = in_scope(position, step.rules, step.evidence.own)
    if not scoped:
        return ClosingPlan(ignored=(position,))
    if position.sec_type != "STK":
        note = f"{position.symbol}: {position.sec_type} is not closed here, only stock"
        return ClosingPlan(notes=(note,))
    exposure = live_closing(
        position, step.evidence.records, step.evidence.working, step.evidence.client_id
    )
    fills = [f for f in step.evidence.fills_since if _is_of(f, position)]
    uncovered = min(
        closing_quantity(position.quantity, (), exposure.shares),
        max(0, int(abs(scoped)) - exposure.own_shares),
    )
    quantity = min(
        uncovered, closing_quantity(position.quantity, fills, exposure.shares)
    )
    alerts = tuple(describe(position, exposure))
    fractions = tuple(_fractions(position.symbol, scoped))
    waiting = tuple(_waiting(position, uncovered - quantity))
    if quantity and (obstacle := _obstacle(position, step)):
        short = "short " * (position.quantity < 0)
        left = f"{short}{quantity} {position.symbol}: {obstacle}"
        return ClosingPlan(alerts=(*alerts, left), notes=fractions)
    orders = _orders(position, quantity, step) if quantity else ()
    shorts = tuple(_shorts(position))
    notes = (*shorts, *fractions)
    return ClosingPlan(orders, alerts, waiting=waiting, notes=notes, shorts=shorts)


def _shorts(position: Position) -> Iterator[str]:
    if int(position.quantity) < 0:
        yield f"{position.symbol}: short {-position.quantity}; it is bought back"


def _fractions(symbol: str, shares: Decimal) -> Iterator[str]:
    if fraction := abs(shares) % 1:
        yield f"{symbol}: {fraction} of a share stays; close it by hand"


def _waiting(position: Position, shares: int) -> Iterator[str]:
    if shares:
        yield f"{position.symbol}: {shares} wait for the next positions answer"


def _is_of(fill: Fill, position: Position) -> bool:
    return fill.account == position.account and fill.con_id == position.con_id


def _obstacle(position: Position, step: _Step) -> str:
    contract = step.evidence.contracts.get(position.con_id)
    if contract is None:
        return "the gateway gave no contract for it; close it by hand"
    if contract.order_types and step.order_type.value not in contract.order_types:
        return f"its listing takes no {step.order_type.value} order; close it by hand"
    if not _can_refer(position, step):
        return "its symbol does not fit an order reference; close it by hand"
    return ""


def _can_refer(position: Position, step: _Step) -> bool:
    try:
        refs.Ref(
            step.session.date,
            position.symbol,
            Bracket.WHOLE,
            _LEGS[step.order_type],
            part=99,
            attempt=999,
        )
    except ValueError:
        return False
    return True


def _orders(position: Position, quantity: int, step: _Step) -> tuple[Order, ...]:
    sizes = _split(quantity, step.rules.size_preset)
    attempt = _next_attempt(position, step)
    return tuple(
        Order(
            order_ref=refs.Ref(
                step.session.date,
                position.symbol,
                Bracket.WHOLE,
                _LEGS[step.order_type],
                part=part if len(sizes) > 1 else None,
                attempt=attempt,
            ).text,
            account=position.account,
            contract=step.evidence.contracts[position.con_id],
            side=closing_side(position),
            quantity=size,
            order_type=step.order_type,
            tif="DAY",
            expires_at=step.expires_at,
        )
        for part, size in enumerate(sizes, start=1)
    )


def _split(quantity: int, preset: int) -> tuple[int, ...]:
    """Return *quantity* in parts of at most *preset* shares (error 383, B2)."""
    full, rest = divmod(quantity, preset)
    return (preset,) * full + ((rest,) if rest else ())


def _next_attempt(position: Position, step: _Step) -> int:
    leg = _LEGS[step.order_type]
    known = (*(r.order_ref for r in step.evidence.records), *step.evidence.told)
    used = [
        ref.attempt
        for text in known
        if (ref := refs.parse(text))
        and (ref.session, ref.symbol, ref.leg)
        == (step.session.date, position.symbol, leg)
    ]
    return max(step.attempt, max(used, default=0) + 1)
