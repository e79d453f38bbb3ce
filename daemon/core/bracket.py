"""Brackets: the orders that one plan row asks for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from daemon.core.model import (
    Bracket,
    Contract,
    Leg,
    Order,
    OrderRef,
    OrderType,
    RowOutcome,
    RowStatus,
    Session,
    Side,
)
from daemon.core.plan import PlanRow, split_quantity
from daemon.core.refs import Ref, parse
from daemon.core.rules import TradingRules
from daemon.core.session import submit_deadline
from daemon.errors import InvariantViolated

REDUCE_WITH_BLOCK = 2
"""OCA type: the others shrink by what filled, one at a time (1 would cancel them)."""


@dataclass(frozen=True, slots=True)
class Family:
    """One bracket: the entry and the exits that live and die with it."""

    entry: Order
    take_profit: Order
    stop_loss: Order

    @property
    def orders(self) -> tuple[Order, ...]:
        """Return the orders as they go over the wire; the last one transmits."""
        return (self.entry, self.take_profit, self.stop_loss)


def build_brackets(
    row: PlanRow, session: Session, rules: TradingRules, contract: Contract
) -> tuple[Family, Family] | RowOutcome:
    """Return bracket A and bracket B of *row*, or the refusal of the row.

    Prices go to the contract's tick: the entry down, the stop up, the take-profit
    down. The row is refused where stop < entry < take-profit does not survive that.
    """
    if row.quantity < 2:
        return _refused(row, f"{row.quantity} shares make no two brackets")
    tick = contract.min_tick
    if tick <= 0:
        return _refused(row, f"the gateway gives {contract.symbol} no tick size")
    entry = _to_tick(row.limit_price, tick, ROUND_FLOOR)
    stop = _to_tick(row.stop_loss, tick, ROUND_CEILING)
    targets = [
        _to_tick(target, tick, ROUND_FLOOR)
        for target in (row.take_profit_1, row.take_profit_2)
    ]
    if not stop < entry < min(targets):
        return _refused(
            row,
            f"in ticks of {tick} stop {stop} < entry {entry}"
            f" < take-profit {min(targets)} does not hold",
        )
    family_a, family_b = (
        _family(
            _Shape(row.symbol, bracket, shares, entry, target, stop),
            session,
            rules,
            contract,
        )
        for bracket, shares, target in zip(
            (Bracket.A, Bracket.B),
            split_quantity(row.quantity, rules.share_a),
            targets,
            strict=True,
        )
    )
    return family_a, family_b


@dataclass(frozen=True, slots=True)
class _Shape:
    """What tells one bracket of a row from the other, prices in ticks already."""

    symbol: str
    bracket: Bracket
    quantity: int
    entry: Decimal
    take_profit: Decimal
    stop_loss: Decimal


def _family(
    shape: _Shape, session: Session, rules: TradingRules, contract: Contract
) -> Family:
    def ref(leg: Leg) -> Ref:
        return Ref(session.date, shape.symbol, shape.bracket, leg)

    parent = ref(Leg.ENTRY).text
    group = f"{session.date:%Y%m%d}:{shape.symbol}:{shape.bracket}"
    expires_at = submit_deadline(session)
    entry = Order(
        order_ref=parent,
        account=rules.account,
        contract=contract,
        side=Side.BUY,
        quantity=shape.quantity,
        order_type=OrderType.LIMIT,
        limit_price=shape.entry,
        # A DAY order that dies early: no entry may fill into or after the close.
        tif="GTD",
        good_till=session.close - timedelta(seconds=rules.entries_die_before_close_s),
        transmit=False,
        expires_at=expires_at,
    )
    take_profit = Order(
        order_ref=ref(Leg.TAKE_PROFIT).text,
        account=rules.account,
        contract=contract,
        side=Side.SELL,
        quantity=shape.quantity,
        order_type=OrderType.LIMIT,
        limit_price=shape.take_profit,
        oca_group=group,
        oca_type=REDUCE_WITH_BLOCK,
        parent_ref=parent,
        transmit=False,
        expires_at=expires_at,
    )
    stop_loss = Order(
        order_ref=ref(Leg.STOP_LOSS).text,
        account=rules.account,
        contract=contract,
        side=Side.SELL,
        quantity=shape.quantity,
        order_type=OrderType.STOP,
        stop_price=shape.stop_loss,
        oca_group=group,
        oca_type=REDUCE_WITH_BLOCK,
        parent_ref=parent,
        transmit=True,
        expires_at=expires_at,
    )
    return Family(entry, take_profit, stop_loss)


def another_attempt(family: Family, attempt: int) -> Family:
    """Return *family* under the references and the OCA group of a later attempt.

    Only for a family that is proven never to have been at work (law I1).
    """
    entry = _again(family.entry, attempt)
    return Family(
        entry=entry,
        take_profit=_again(family.take_profit, attempt, entry.order_ref),
        stop_loss=_again(family.stop_loss, attempt, entry.order_ref),
    )


def _again(order: Order, attempt: int, parent: OrderRef | None = None) -> Order:
    ref = parse(order.order_ref)
    if ref is None:
        raise InvariantViolated(f"{order.order_ref} is no reference of ours")
    return replace(
        order,
        order_ref=replace(ref, attempt=attempt).text,
        parent_ref=parent,
        oca_group=order.oca_group and f"{order.oca_group}:{attempt}",
    )


def _to_tick(price: Decimal, tick: Decimal, rounding: str) -> Decimal:
    return (price / tick).to_integral_value(rounding) * tick


def _refused(row: PlanRow, reason: str) -> RowOutcome:
    return RowOutcome(row.line, row.symbol, RowStatus.REFUSED, reason)
